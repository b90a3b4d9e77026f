"""Trained classifiers converted to LiteRT: made on first use, kept in `.cache/`, and recognised by
hash. Needs no Keras and no TensorFlow, except to convert.

A file that belongs to another model or is damaged is made again; the whole folder can be deleted at
any time.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from transfer.classifiers.description import Description, read_description
from transfer.runtime.checksums import content_key, file_checksum
from transfer.runtime.errors import PipelineError
from transfer.runtime.files import write_bytes
from transfer.runtime.pins import installed

if TYPE_CHECKING:  # LiteRT need not be installed
    from transfer.classifiers.litert_classifier import LiteRTClassifier

FOLDER = Path(".cache/classifiers")
CONVERTERS = ("tensorflow", "keras")  # packages whose version may change the file
_LAYOUT = b"2"  # of the file and of what the converter is asked for
_KEY_BYTES = 32  # of a SHA-256
# exit codes of `transfer.classifiers.conversion`
REFUSED, CANNOT_CONVERT = 3, 4


class CannotConvertError(Exception):
    """The classifier cannot run on LiteRT here; the message says why."""


def load_converted(name: str) -> "LiteRTClassifier":
    """The classifier `models/NAME`, ready to be called. Its LiteRT file is taken from FOLDER, or
    made and kept there.

    Raises:
        PipelineError: the model is missing, skipped or damaged.
        CannotConvertError: TensorFlow is not installed, or its converter refuses the model.
    """
    description = read_description(name)
    key, file = classifier_key(description), FOLDER / f"{name}.litert"
    content = read_kept(file, key)
    if content is None:
        with _only_one(file):
            content = read_kept(file, key)  # another process may have made it meanwhile
            if content is None:
                content = _make(name, file, key)
    from transfer.classifiers.litert_classifier import LiteRTClassifier

    return LiteRTClassifier(content, description.input_kind, description.class_names)


def classifier_key(description: Description) -> bytes:
    """32 bytes that differ for other weights, another architecture, other class names or another
    version of the converter."""
    versions = installed(CONVERTERS)
    return content_key(
        _LAYOUT,
        description.content,
        file_checksum(description.weights).encode(),
        *(f"{package}=={versions[package]}".encode() for package in CONVERTERS),
    )


def read_kept(file: Path, key: bytes) -> bytes | None:
    """The bytes of the LiteRT file that is kept under this key; None if there is none.

    A damaged file, or one of another model, counts as none. The former is reported on standard
    error.
    """
    try:
        kept = file.read_bytes()
    except OSError:
        return None
    kept_key, digest, content = (
        kept[:_KEY_BYTES],
        kept[_KEY_BYTES : 2 * _KEY_BYTES],
        kept[2 * _KEY_BYTES :],
    )
    if kept_key != key:
        return None
    if hashlib.sha256(content).digest() != digest:
        print(f"{file} is damaged and is made again", file=sys.stderr)
        return None
    return content


def _make(name: str, file: Path, key: bytes) -> bytes:
    """Convert the classifier and keep the file, if the disk permits it."""
    if not find_spec("tensorflow"):
        raise CannotConvertError(
            "TensorFlow is not installed, and its converter makes the LiteRT file"
        )
    print(
        f"converting models/{name} to LiteRT, once until the model changes; this needs TensorFlow "
        "and takes seconds",
        file=sys.stderr,
        flush=True,
    )
    content = _convert(name)
    _keep(file, key, content)
    return content


def keep_converted(name: str, content: bytes) -> None:
    """Keep a LiteRT file that was made where `models/NAME` was trained, if the disk permits it."""
    _keep(FOLDER / f"{name}.litert", classifier_key(read_description(name)), content)


def _keep(file: Path, key: bytes, content: bytes) -> None:
    try:
        write_bytes(file, key + hashlib.sha256(content).digest() + content)
    except OSError as error:
        print(
            f"{file} cannot be written ({error.strerror}); the next run converts the model again",
            file=sys.stderr,
        )


def _convert(name: str) -> bytes:
    """The bytes of the LiteRT file, made by another process (`transfer.classifiers.conversion`)."""
    package_parent = str(Path(__file__).parents[2])
    paths = [package_parent, *filter(None, [os.environ.get("PYTHONPATH")])]
    # the converter is TensorFlow's, whichever backend trains
    variables = {"KERAS_BACKEND": "tensorflow", "PYTHONPATH": os.pathsep.join(paths)}
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "classifier.tflite"
        finished = subprocess.run(  # noqa: S603  its own module
            [sys.executable, "-m", "transfer.classifiers.conversion", name, str(made)],
            env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"} | variables,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if finished.returncode == 0:
            return made.read_bytes()
    *_, problem = finished.stderr.strip().splitlines() or ["no reason was given"]
    if finished.returncode == REFUSED:
        raise PipelineError(problem)
    if finished.returncode == CANNOT_CONVERT:
        raise CannotConvertError(f"models/{name} cannot be converted: {problem}")
    raise CannotConvertError(
        f"the conversion of models/{name} ended with exit code {finished.returncode}: {problem}"
    )


@contextmanager
def _only_one(file: Path) -> Iterator[None]:
    """Wait until no other process makes this file; if the disk permits no lock, do not wait."""
    from filelock import FileLock  # needed only to convert

    lock = FileLock(file.with_suffix(".lock"), fallback_to_soft=False)
    # a read-only disk, and network file systems without locks
    with suppress(OSError, NotImplementedError):
        file.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
