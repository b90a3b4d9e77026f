"""Lists of paths whose names are the classes: `cats.txt` and `dogs.txt`, or `train_cats.txt` and
`test_cats.txt`, with a path in each line."""

import re
from collections.abc import Collection, Mapping
from pathlib import Path

from transfer.labels.class_names import may_name_classes
from transfer.labels.folder_words import is_called_list, name_splits, split_and_label_pattern
from transfer.labels.listing import first_few
from transfer.labels.row_files import PATH_NAMES
from transfer.labels.table import Table, lines_of
from transfer.labels.tables import read_content
from transfer.sources.source_file import IMAGE_NAME

SUFFIXES = (".txt", ".lst", ".csv", ".tsv")
_STEM = re.compile(r"[^\s,;|]*\d[^\s,;|]*")  # of an image: one word with a number in it
_MAX_BYTES = 2**28


def may_be_class_lists(paths: Collection[Path]) -> bool:
    """Whether files of a folder may be lists named by their classes, as far as their names say."""
    return len(_lists_by_name(paths)) > 1


def read_class_lists(paths: Collection[Path], packed: Mapping[Path, bytes] | None) -> Table | None:
    """The lists of a folder as one table of path, label and, where all paths have one, split; None
    where there are fewer than two. Splits are in the names of the lists, or in lists named after
    splits alone (`train.txt`).

    Args:
        paths: of the files of the folder. packed: as in `read_table`.
    """
    found = {path: lines for path in _lists_by_name(paths) if (lines := _paths_in(path, packed))}
    if len(found) < 2 or _are_notes(found):
        return None
    pattern = split_and_label_pattern([path.stem for path in found])
    rows: list[tuple[str, str, str | None]] = []
    whole = _split_of_paths(set(paths) - {*found}, packed)
    for path in sorted(found):
        named = re.search(pattern, f"{path.stem}/") if pattern else None
        label, split = (named["label"], named["split"]) if named else (path.stem, None)
        rows += [(line, label, split or whole.get(line)) for line in found[path]]
    columns: dict[str, list[str | None]] = {
        "path": [path for path, _, _ in rows],
        "label": [label for _, label, _ in rows],
    }
    if all(split for _, _, split in rows):
        columns["split"] = [split for _, _, split in rows]
    names = first_few(path.name for path in sorted(found))
    lines = [number for path in sorted(found) for number in range(1, len(found[path]) + 1)]
    return Table(columns, lines, f"lists of paths, named by their classes: {names}")


def _are_notes(found: Mapping[Path, list[str]]) -> bool:
    """Whether these are notes beside pictures, each with a label in it: a line each, or some of
    their names in their lines."""
    lines = {line for own in found.values() for line in own}
    if any(map(IMAGE_NAME.search, lines)):
        return False
    return all(len(own) == 1 for own in found.values()) or bool(
        lines & {path.stem for path in found}
    )


def _lists_by_name(paths: Collection[Path]) -> list[Path]:
    return [
        path for path in paths if path.suffix.lower() in SUFFIXES and not is_called_list(path.stem)
    ]


def _split_of_paths(
    paths: Collection[Path], packed: Mapping[Path, bytes] | None
) -> dict[str, str | None]:
    """The split of each path in lists that are named after splits alone."""
    splits: dict[str, str | None] = {}
    for path in paths:
        if path.suffix.lower() in SUFFIXES and name_splits([path.stem]):
            splits |= dict.fromkeys(_paths_in(path, packed), path.stem)
    return splits


def _paths_in(path: Path, packed: Mapping[Path, bytes] | None) -> list[str]:
    """The paths in a file that has one in each line and nothing else; none otherwise."""
    content = read_content(path, packed)
    if len(content) > _MAX_BYTES:
        return []
    text = content.decode("utf-8-sig", "replace")
    lines = [line.strip().strip("\"'") for line in lines_of(text) if line.strip()]
    if lines and lines[0].lower() in PATH_NAMES:
        lines = lines[1:]
    if any(re.search(r"[,;\t|]", line) for line in lines):
        return []
    if 2 * sum(bool(IMAGE_NAME.search(line)) for line in lines) > len(lines):
        return lines
    are_stems = all(map(_STEM.fullmatch, lines)) and not may_name_classes(path.name)
    return lines if are_stems else []
