"""Where arrays are stored: one folder per array, in which readers recognise the format by the file
that exists."""

from pathlib import Path
from typing import Literal

from transfer.runtime.errors import PipelineError
from transfer.storage.sharded_array import SUFFIX

IMAGES = Path("data/images")
FEATURES = Path("data/features")
VIEWS = Path("data/views")
FORMATS = {"npy": ".npy", "shards": SUFFIX}  # suffix by the value of `arrays.format`


def inputs_path(split: str, input_kind: str) -> Path:
    """The path without suffix of a split's array: `decode` keeps its `images` (N, H, W, 3),
    `extract` its `features` (N, h, w, C) and activations at the `cut`."""
    return (IMAGES if input_kind == "images" else FEATURES) / split / input_kind


def views_path(input_kind: str) -> Path:
    """The path without suffix where `augment` keeps the training views' `features`
    (V, N, h, w, C) or activations at the `cut`."""
    return VIEWS / input_kind


def array_file(array: Path, form: Literal["npy", "shards"]) -> Path:
    """The file of a new array: its path without suffix, and the suffix of the format."""
    return array.with_name(array.name + FORMATS[form])


def find_array(array: Path) -> Path:
    """The file of an existing array; a path that has a format's suffix already is returned as it
    is.

    Args:
        array: the path without suffix, from `inputs_path` or `views_path`.

    Raises:
        PipelineError: there is no such array, or one in each format.
    """
    if array.suffix in FORMATS.values():
        return array
    files = [array_file(array, form) for form in FORMATS]
    found = [file for file in files if file.exists()]
    if not found:
        raise PipelineError(f"{files[0]} is missing; run `dvc repro` or `dvc pull`")
    if len(found) > 1:
        raise PipelineError(
            f"{found[0]} and {found[1].name} are the same array in two formats, and which one is "
            f"meant cannot be known; delete {array.parent} and run `dvc repro`"
        )
    return found[0]
