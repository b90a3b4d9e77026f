"""What is known of one file of the source once it was looked at."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from transfer.decoding.value_ranges import ValueRange
from transfer.sources.source_file import IMAGE_NAME


@dataclass(frozen=True, slots=True)  # there is one of each file in memory
class ScannedFile:
    """One file, looked at: its hashes, or why it cannot be used.

    split: None unless the source is pre-split. value_range, tiff_alpha, alpha, remarks: as
    `Examined` of transfer.decoding.rgb has them.
    """

    path: str
    problem: str | None = None
    sha256: str = ""
    perceptual: str = ""
    class_name: str = ""
    split: str | None = None
    value_range: ValueRange | None = None
    tiff_alpha: bool | None = None
    alpha: bool | None = None
    remarks: tuple[str, ...] = ()


def companions(files: Sequence[ScannedFile]) -> set[str]:
    """The paths of what is no image, by its name neither, and is called as an image beside it: the
    RAW file or the film that a camera wrote with the picture."""
    others = {
        file.path: path.with_suffix("")
        for file in files
        if file.problem
        and not IMAGE_NAME.search(file.path)
        and (path := PurePosixPath(file.path)).suffix
    }
    if not others:
        return set()
    called = set(others.values())
    images = {
        path
        for file in files
        if not file.problem and (path := PurePosixPath(file.path).with_suffix("")) in called
    }
    return {path for path, name in others.items() if name in images}
