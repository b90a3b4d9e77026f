"""Files that say where objects are in pictures, as data sets for detection have them."""

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

from transfer.sources.source_file import is_sidecar

_COCO = re.compile(
    r"(^|/)([^/]*coco[^/]*|(instances|person_keypoints|panoptic)_[^/]*)\.json$", re.I
)
_CSV = re.compile(r"(^|/)_annotations\.csv$", re.I)
_WHAT_TO_DO = (
    "Here each image has one class: cut the objects out and put each into a folder of its class, "
    "or name a table with one label for each image (split.labels)"
)


def describe_boxes(paths: Iterable[str]) -> str:
    """A sentence that the source is a data set for the detection of objects, and what to do; empty
    if it is none.

    Args:
        paths: of the files of a source.
    """
    paths = [*paths]
    stems: dict[str, set[str]] = {".txt": set(), ".xml": set()}
    found = ""
    for path in paths:
        if suffix := _boxes_suffix(path):
            stems[suffix].add(PurePosixPath(path).stem)
        elif _is_picture(path):
            continue
        elif _COCO.search(path):
            found = f"{path} looks like COCO's file of boxes or outlines"
        elif _CSV.search(path):
            found = f"{path} looks like a table of boxes"
    if any(stems.values()):  # else the names of millions of pictures need not be remembered
        pictures = {
            PurePosixPath(path).stem
            for path in paths
            if not _boxes_suffix(path) and _is_picture(path)
        }
        for suffix, kind in ((".txt", "YOLO's"), (".xml", "Pascal VOC's")):
            beside = len(stems[suffix] & pictures)
            if beside and 2 * beside >= len(pictures):
                found = f"The {suffix} files named as the pictures look like {kind} files of boxes"
    return f"{found}: data for the detection of objects. {_WHAT_TO_DO}" if found else ""


def _boxes_suffix(path: str) -> str:
    """`.xml` or `.txt` if a file may have the boxes of a picture, else an empty string."""
    suffix = path[-4:].lower()
    if suffix == ".xml" or (suffix == ".txt" and "labels" in path.lower().split("/")):
        return suffix if PurePosixPath(path).suffix else ""  # `labels/.txt` is a name without one
    return ""


def _is_picture(path: str) -> bool:
    return bool(path) and not path.endswith("/") and not is_sidecar(path)
