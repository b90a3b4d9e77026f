"""Notes beside the pictures, each called as its picture: `12.txt` with the label in it, JSON of
LabelMe, XML of Pascal VOC."""

import html
import json
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from transfer.labels.listing import count_of
from transfer.labels.row_files import LABEL_NAMES
from transfer.labels.table import Table, cell_of, lines_of
from transfer.labels.tables import read_content
from transfer.runtime.errors import PipelineError
from transfer.sources.source_file import IMAGE_NAME

SUFFIXES = (".txt", ".cls", ".json", ".xml")
_BOX = re.compile(r"(?P<number>\d+)(\s+-?\d*\.?\d+(e-?\d+)?){4,}", re.IGNORECASE)  # YOLO's
_NAME = re.compile(r"<name>([^<>]*)</name>")
_LONGEST = 100  # characters of a label
_MAX_BYTES = 2**24
_MANY = 6  # notes of which more than half cannot have a label of their own


class Notes(NamedTuple):
    """The notes of a folder as a table of path and label, and whether the labels are of boxes or
    outlines in the pictures."""

    table: Table
    of_boxes: bool


def notes_among(beside: Collection[str], images: Collection[str]) -> list[str]:
    """The paths of the notes, of one suffix, if half of the images have one; none otherwise.

    Args:
        beside: paths of text, tables and the like. images: paths of the images.
    """
    names = {_name(path) for path in images}
    found = _most_of_one_suffix(path for path in beside if _name(path) in names)
    return found if 2 * len(found) >= len(names) else []


def _name(path: str) -> str:
    """The name without folders and suffix, also of `a.jpg.json`."""
    return IMAGE_NAME.sub("", Path(path).stem if not IMAGE_NAME.search(path) else Path(path).name)


def folder_of_notes(notes: Collection[Path]) -> Path:
    """The innermost folder that holds all of them."""
    parents = {path.parent for path in notes}
    first = min(parents, key=lambda folder: len(folder.parts))
    while not all(folder.is_relative_to(first) for folder in parents):
        first = first.parent
    return first


def list_notes(folder: Path) -> list[Path]:
    """The notes in a folder and those below it: of the suffix that most files have, without those
    that are called as none of the pictures there, if there are pictures."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    images = {_name(path.name) for path in files if IMAGE_NAME.search(path.name)}
    return _most_of_one_suffix(path for path in files if not images or _name(path.name) in images)


def _most_of_one_suffix(paths: Iterable[str | Path]) -> list:
    """The paths of the suffix of notes that most of them have, sorted."""
    by_suffix = {suffix: [] for suffix in SUFFIXES}
    for path in paths:
        by_suffix.get(Path(path).suffix.lower(), []).append(path)
    return sorted(max(by_suffix.values(), key=len))


def read_notes(notes: Collection[Path], folder: Path, packed: Mapping[Path, bytes] | None) -> Notes:
    """The label of each note, by its path from the folder without its suffix; a note of nothing has
    none.

    Args:
        packed: as in `read_table`.

    Raises:
        PipelineError: a note is none, or some have several labels.
    """
    notes = sorted(notes)
    found = [_labels_in(read_content(path, packed), path) for path in notes]
    of_boxes = any(boxes for _, boxes in found)
    suffix = notes[0].suffix
    several = [
        f"{path} ({', '.join(labels[:3])})"
        for path, (labels, _) in zip(notes, found, strict=True)
        if len(labels) > 1
    ]
    if several:
        what = "objects of several classes" if of_boxes else "several labels"
        do = (
            "data for the detection of objects: cut the objects out into folders of their classes"
            if of_boxes
            else "a model of this pipeline gives each image one class: keep one label in each"
        )
        raise PipelineError(
            f"{len(several)} of the {len(notes)} {suffix} files beside the pictures have {what}, "
            f"such as {several[0]}; {do}"
        )
    labels = [own[0] if own else None for own, _ in found]
    distinct = {label for label in labels if label}
    if len(labels) >= _MANY and 2 * len(distinct) > len(labels):
        raise PipelineError(
            f"the {len(labels)} {suffix} files called as the pictures have {len(distinct)} "
            f"different texts, {min(distinct)!r} say: these are no labels of classes"
        )
    names = [path.relative_to(folder).with_suffix("").as_posix() for path in notes]
    columns = {"path": [IMAGE_NAME.sub("", name) for name in names], "label": labels}
    form = f"{len(notes)} {suffix} files called as the pictures" + (
        ", with boxes or outlines of one class in each" if of_boxes else ""
    )
    return Notes(Table(columns, [*range(1, len(notes) + 1)], form), of_boxes)


def describe_boxed(notes: Notes, folder: str) -> str:
    """What to do about notes of boxes, each of one class, in words."""
    pictures = count_of(len(notes.table.lines), "picture")
    return (
        f"{folder} has boxes or outlines of objects for {pictures}, as data for detection has, of "
        "one class in each: if that is the class of the whole picture, name the folder by "
        f"split.labels, here --labels {folder}; else cut the objects out into folders of their "
        "classes"
    )


def _labels_in(content: bytes, path: Path) -> tuple[list[str], bool]:
    """The labels in a note, each once, and whether they are of boxes."""
    if len(content) > _MAX_BYTES:
        raise PipelineError(f"{str(path)!r} has {len(content):,} bytes, and is no label")
    text = content.decode("utf-8-sig", "replace").strip()
    if path.suffix.lower() == ".xml":
        names = [_NAME.search(each) for each in text.split("<object>")[1:]]
        return _each_once(html.unescape(name[1]).strip() for name in names if name), True
    if path.suffix.lower() == ".json":
        return _labels_in_json(text, path)
    lines = [line.strip() for line in lines_of(text) if line.strip()]
    boxes = [match["number"] for line in lines if (match := _BOX.fullmatch(line))]
    if lines and len(boxes) == len(lines):
        return _each_once(boxes), True
    if any(len(line) > _LONGEST for line in lines):
        raise PipelineError(f"{str(path)!r} is a text, and no label: {text[:60]!r}")
    return _each_once(lines), False


def _labels_in_json(text: str, path: Path) -> tuple[list[str], bool]:
    """Those of LabelMe's flags or outlines, or the value that is called a label."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise PipelineError(f"{str(path)!r} is no JSON object with a label")
    flags, shapes = content.get("flags"), content.get("shapes")
    if isinstance(flags, dict) and any(flags.values()):
        return [name for name, is_set in flags.items() if is_set], False
    if isinstance(shapes, list) and shapes:
        return _each_once(
            str(shape.get("label")) for shape in shapes if isinstance(shape, dict)
        ), True
    if isinstance(flags, dict) and isinstance(shapes, list):
        return [], False
    plain = {re.sub(r"[\s.-]+", "_", name).lower(): value for name, value in content.items()}
    name = next((name for name in LABEL_NAMES if name in plain), None)
    if name is None:
        raise PipelineError(
            f"{str(path)!r}: JSON with {', '.join(map(repr, [*content][:5]))}, of which none is a "
            "label"
        )
    value = plain[name]
    labels = value if isinstance(value, list) else [value]
    return _each_once(cell for each in labels if (cell := cell_of(each)) is not None), False


def _each_once(labels: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(labels))
