"""Where a source keeps its classes."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from transfer.runtime.errors import PipelineError
from transfer.sources.source_file import climbs

_SPLIT_FOLDERS = {
    "train": "train",
    "validation": "validation",
    "val": "validation",
    "valid": "validation",
    "test": "test",
}


@dataclass(frozen=True)
class Layout:
    """Where a source keeps its classes.

    depth: folders in front of the class folder that every path shares (a single wrapping folder,
        say).
    is_split: the level under them is train/validation/test, and the classes lie below that.
    """

    depth: int
    is_split: bool

    def place(self, path: str) -> tuple[str | None, str] | None:
        """Split (None unless pre-split) and class of a file,
        or None when it lies in no class folder."""
        if climbs(path):
            return None
        parts = path.split("/")[self.depth :]
        split = _SPLIT_FOLDERS.get(parts.pop(0).lower()) if self.is_split else None
        return (split, parts[0]) if len(parts) >= 2 and (split or not self.is_split) else None


def find_layout(paths: Iterable[str], source: Path | str) -> Layout:
    """Find the class folders among the paths of files and folders (the latter end in `/`).

    A folder that is alone at its level and holds folders is a wrapper and is looked through.
    `source` is for messages.

    Raises:
        PipelineError: no folders at all, or some of train/validation/test but not just these three,
            each once.
    """
    parts = [path.split("/") for path in paths if not climbs(path)]
    depth = 0
    while True:
        tops = {p[depth] for p in parts if len(p) > depth + 1}
        if len(tops) != 1 or not any(len(p) > depth + 2 and p[depth + 1] for p in parts):
            break
        depth += 1
    if not tops:
        raise PipelineError(
            f"split.source = {str(source)!r} holds no class folders; put each class's images in a "
            "folder of its own"
        )
    splits = [_SPLIT_FOLDERS[top.lower()] for top in tops if top.lower() in _SPLIT_FOLDERS]
    if len(splits) < 2:  # a single one may well be a class: trains among vehicles
        return Layout(depth, is_split=False)
    if sorted(splits) != ["test", "train", "validation"] or len(tops) != 3:
        raise PipelineError(
            f"split.source = {str(source)!r} looks already split, but into the folders "
            f"{', '.join(sorted(tops))}; it needs train, validation (or val, valid) and test, "
            "each once and nothing beside them, or class folders only"
        )
    return Layout(depth, is_split=True)
