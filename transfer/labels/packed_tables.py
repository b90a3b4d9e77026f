"""Labels from a table that lies in the archive of the images."""

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from transfer.labels.class_lists import SUFFIXES as LIST_SUFFIXES
from transfer.labels.class_lists import may_be_class_lists
from transfer.labels.labels_by_table import label_by_table
from transfer.labels.path_label import LabelColumns, PathLabels
from transfer.labels.picture_notes import folder_of_notes, notes_among, read_notes
from transfer.labels.table import Table
from transfer.labels.table_folders import folders_of_tables, read_tables
from transfer.labels.tables import SUFFIXES, read_table
from transfer.runtime.errors import PipelineError
from transfer.runtime.extras import explain_missing
from transfer.sources.reader import read_source

_TRIED, _DEEPEST = 10, 6  # tables, and folders around one
# Lists of something else: of boxes, landmarks, and splits alone.
_NO_LABELS = re.compile(r"partition|bbox|bounding|landmark|train_test_split", re.IGNORECASE)


def label_by_packed_tables(
    images: Sequence[str],
    others: Sequence[str],
    source: str,
    beside: Sequence[str],
    columns: LabelColumns,
) -> PathLabels:
    """The labels by the table in an archive that labels most of its images, or by several that
    belong together.

    Args:
        beside: paths in the archive, of text and tables. The others are as in `label_by_table`.

    Raises:
        PipelineError: no table labels the images; says why the first ones do not.
    """
    notes = notes_among(beside, images)
    names = tables_among(beside, notes)
    if not names and not notes:
        raise PipelineError(
            f"split.labels = {source!r} is the archive of the images, and no table lies in it; "
            "name a table"
        )
    lists = [] if notes else lists_beside(names, beside)
    entries = read_source(source, {*names, *notes, *lists})
    content = {Path(source, entry.path): entry.content for entry in entries if entry.content}
    in_notes = {Path(source, path) for path in notes} & content.keys()
    packed = {path: content[path] for path in content if path not in in_notes}
    in_lists = {Path(source, path) for path in {*lists} - {*names}}
    alone = [path for path in packed if may_be_labels(path.name) and path not in in_lists]
    found, problems = [], []
    for place in [*folders_of_tables([*packed], Path(source)), *alone]:
        try:
            table = read_table(place, packed) if place in packed else read_tables(place, packed)
            found.append(label_by_table(table, images, others, source, str(place), columns))
        except ModuleNotFoundError as error:  # Parquet, which an extra reads
            if (install := explain_missing(error)) is None:
                raise
            problems.append(f"{place} is a table of Parquet: {install}")
        except PipelineError as problem:
            problems.append(str(problem))
    if not found and in_notes:
        folder = folder_of_notes(in_notes)
        table = _table_of_notes(in_notes, folder, content)
        found.append(label_by_table(table, images, others, source, str(folder), columns))
    best = max(found, key=lambda labels: len(labels.labels), default=None)
    if best is None or len(best.labels) <= len(best.missing):
        raise PipelineError(
            ". ".join(problems[:2]) or f"{[*names, *notes][0]} names no image of {source!r}"
        )
    return best


def _table_of_notes(notes: Collection[Path], folder: Path, content: Mapping[Path, bytes]) -> Table:
    read = read_notes(notes, folder, content)
    if read.of_boxes:
        raise PipelineError(
            f"{folder} has boxes or outlines of objects, as data for detection has: unpack the "
            "archive and name this folder by split.labels if each picture is of the class of its "
            "objects, or cut the objects out into folders of their classes"
        )
    return read.table


def tables_among(paths: Sequence[str], notes: Collection[str] = ()) -> list[str]:
    """Those that may be tables of labels by their names: the first ones, the least deep first.

    Args:
        notes: paths among these that are no tables, as `notes_among` finds them.
    """
    notes = {*notes}
    found = [
        path
        for path in sorted(paths, key=lambda path: (path.count("/"), path))
        if path not in notes
        and path.lower().endswith(SUFFIXES)
        and path.count("/") < _DEEPEST
        and may_be_labels(path)
    ]
    return found[:_TRIED]


def lists_beside(tables: Sequence[str], paths: Sequence[str]) -> list[str]:
    """Of the paths, those in the folders of tables which may be lists named by their classes."""
    folders: dict[Path, list[Path]] = {}
    for path in map(Path, tables):
        folders.setdefault(path.parent, []).append(path)
    found = {folder for folder, own in folders.items() if may_be_class_lists(own)}
    return [
        path
        for path in paths
        if Path(path).parent in found and path.lower().endswith(LIST_SUFFIXES)
    ]


def may_be_labels(name: str) -> bool:
    """Whether a table of this name may have labels, and is no list of boxes or splits, say."""
    return not _NO_LABELS.search(name)
