"""The packages that decide bytes of some stage's outputs: which they are, and which versions are
installed and pinned.

`make lock` runs this module, which writes pins.yaml from the locks. In dvc.yaml each stage
has those that decide its own bytes among its parameters, so that DVC runs it again when one of
these pins changes, and not for any other package. Nothing beyond the standard library is used here:
the module also runs where nothing is installed yet.
"""

import os
import platform
import re
import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from transfer.runtime.errors import PipelineError
from transfer.runtime.files import atomic_write

LOCKS = tuple(
    map(
        Path,
        (
            "requirements.txt",
            "requirements/export.txt",
            "requirements/hub.txt",
            "requirements/parquet.txt",
        ),
    )
)
PINS = Path("pins.yaml")
DECIDE_BYTES = (
    "ai-edge-litert",  # computes the frozen pass on CPUs
    "cleanlab",
    "cleanvision",
    "h5py",  # the layout of .weights.h5
    "imagehash",  # only its phash is used, which does not need pywavelets
    "jinja2",
    "keras",
    "keras-hub",  # builds the networks of its presets
    "kiwisolver",  # Matplotlib's constrained layout
    "markupsafe",  # how the report's text is escaped
    "matplotlib",
    "numpy",
    "onnx",
    "onnxruntime",  # its answers, like those of LiteRT
    "pandas",  # how numbers are written in tables
    "pillow",
    "protobuf",  # the order of fields in a SavedModel and an ONNX file
    "pyarrow",  # the manifest as Parquet
    "pyyaml",  # the head of the model card
    "scikit-learn",
    "scipy",
    "statsmodels",
    "tensorflow",
    "tf2onnx",
)
BACKENDS = {"tensorflow": ("tensorflow",), "jax": ("jax", "jaxlib"), "torch": ("torch",)}
NOT_INSTALLED = "not installed"
_HEADER = (
    "# The pinned versions of the packages that decide bytes of outputs, from the locks: "
    "made by `make lock`, not by hand.\n"
    "# Stages have them as parameters (dvc.yaml), so that a changed version runs again what it may "
    "change.\n"
)


def main() -> None:
    """Write pins.yaml from the locks of this folder."""
    try:
        write_pins(read_locks(LOCKS), PINS)
    except PipelineError as error:
        sys.exit(f"lock: {error}")


def in_use(packages: Iterable[str] = DECIDE_BYTES) -> list[str]:
    """The packages, with those of the backend that KERAS_BACKEND names in place of TensorFlow."""
    backend = BACKENDS.get(os.environ.get("KERAS_BACKEND", "tensorflow"), ())
    return [
        name
        for package in packages
        for name in (backend if package == "tensorflow" else (package,))
    ]


def installed(packages: Iterable[str]) -> dict[str, str]:
    """Versions by package; NOT_INSTALLED for a missing package."""
    found = {}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = NOT_INSTALLED
    return found


def versions(packages: Iterable[str]) -> dict[str, str]:
    """`installed`, and Python's own version as `python`."""
    return {"python": platform.python_version(), **installed(packages)}


def unlike_pins(packages: Iterable[str], pins: dict[str, str]) -> list[str]:
    """A phrase for each package that is installed in another version than pinned; packages that are
    not installed are left out."""
    there = installed(name for name in packages if name in pins)
    return [
        f"{name} {found} ({pins[name]} in {PINS})"
        for name, found in there.items()
        if found not in (NOT_INSTALLED, pins[name])
    ]


def read_locks(locks: Iterable[Path]) -> dict[str, str]:
    """The pinned version of each package in requirements files.

    Raises:
        PipelineError: markers choose between several versions of one package, so that the bytes of
            outputs would depend on Python's version.
    """
    versions: dict[str, set[str]] = {}
    for lock in locks:
        for name, pinned in re.findall(
            r"^([A-Za-z0-9._-]+)==([^\s;]+)", lock.read_text(encoding="utf-8"), re.MULTILINE
        ):
            versions.setdefault(name, set()).add(pinned)
    for name, each in versions.items():
        if len(each) > 1:
            raise PipelineError(
                f"{', '.join(map(str, locks))}: {name} is pinned as {' and '.join(sorted(each))}; "
                "delete all but the version that every supported Python can have, then `make lock`"
            )
    return {name: pinned for name, (pinned,) in versions.items()}


def write_pins(locked: dict[str, str], path: Path) -> None:
    """Write the versions of DECIDE_BYTES as YAML.

    Raises:
        KeyError: one of these packages is not locked.
    """
    lines = [f'{name}: "{locked[name]}"\n' for name in DECIDE_BYTES]
    with atomic_write(path) as temporary:
        temporary.write_text(_HEADER + "".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
