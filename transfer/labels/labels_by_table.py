"""Labels from a table of paths and labels."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from transfer.labels.folder_words import name_splits
from transfer.labels.label_words import (
    check_no_measures,
    check_single_labels,
    counted,
    one_spelling,
    single_label,
    splits_by_folder,
    splits_named,
    words_in_tags,
)
from transfer.labels.listing import count_of, first_few
from transfer.labels.one_hot import check_no_shares, with_one_hot_labels
from transfer.labels.path_label import LabelColumns, PathLabel, PathLabels
from transfer.labels.row_files import (
    LABEL_NAMES,
    FileIndex,
    check_column,
    folder_in_source,
    match_files,
    named_columns,
)
from transfer.labels.split_columns import with_split_column
from transfer.labels.table import Table
from transfer.runtime.errors import PipelineError

_SPLIT_COLUMNS = (
    *("split", "subset", "set", "partition", "ml_use", "usage", "dataset", "data_set", "phase"),
)
_GROUP_NAMES = (
    *("group", "group_id", "patient", "patient_id", "subject", "subject_id", "lesion_id"),
    *("individual_id", "sequence_id", "session_id", "burst_id"),
)
_WEIGHT_NAMES = ("weight", "weights", "sample_weight")
_BOX_COLUMNS = {"xmin", "bbox", "bboxx1", "x1", "boundingbox"}
_MANY = 10  # images of which each cannot be a class of its own


def label_by_table(
    table: Table,
    images: Sequence[str],
    others: Sequence[str],
    source: str,
    place: str,
    columns: LabelColumns,
) -> PathLabels:
    """The labels that a table has for a source's files.

    Args:
        images: paths in the source, of images that can be read. others: of all other files, which
            a row may name too.
        source: for paths that are relative to the table. place: the table's path.

    Raises:
        PipelineError: a column is not there or cannot be guessed; no row names a file, or a row
            may mean two; rows contradict each other; an image has several labels; splits or
            weights that are none; all rows have one label, or each has its own.
    """
    where = f"split.labels = {place!r}"
    folder = folder_in_source(Path(place), source)
    table, split_column, flags = with_split_column(table)
    asked = columns
    if split_column is not None and columns.split in (None, *flags):
        columns = columns.model_copy(update={"split": split_column})
    path_column, found, how = match_files(
        table, columns.path, FileIndex(images, others), folder, where, _splits_of(table, place)
    )
    table, chosen = _choose_columns(table, columns, path_column, where)
    used = {"path": path_column} | chosen
    column = f"{where}, column {used['label']!r}"
    rows, unlabelled = _labelled_rows(table, used, found, where)
    names, remarks = one_spelling([row.label.class_name for row in rows])
    check_single_labels(names, column)
    splits, split_remarks = _find_splits(rows, used.get("split"), columns, where)
    if split_remarks:
        del used["split"]
    rows = [
        row._replace(label=row.label._replace(class_name=name, split=split))
        for row, name, split in zip(rows, names, splits, strict=True)
    ]
    labels, repeated = _one_row_each(rows, table, where)
    _check_classes(labels, column, is_guessed=columns.label is None)
    missing = [row.name for row in rows if row.path is None]
    without = [path for path in images if path not in labels]
    return PathLabels(
        labels,
        missing,
        is_split=bool(labels) and all(label.split for label in labels.values()),
        columns=used,
        place=place,
        remarks=[
            f"labels from {place} ({table.form}, {len(table.lines)} rows): {_named(used, asked)}",
            f"{len(labels)} images are found {how}",
            *counted(missing, "names no file of the source", "row"),
            *counted(unlabelled, "has no label and is left out", "row"),
            *counted(without, "has no label in the table and is left out", "image"),
            *counted(repeated, "repeats an earlier one", "row"),
            *remarks,
            *split_remarks,
            *words_in_tags(used["label"], {label.class_name for label in labels.values()}),
            *_unused(table, used),
        ],
    )


class _Row(NamedTuple):
    """A row with a label: its line, the name that it has for a file, the file's path in the source
    or None, and what it says of the file."""

    line: int
    name: str
    path: str | None
    label: PathLabel


def _labelled_rows(
    table: Table, used: dict[str, str], found: list[str | None], where: str
) -> tuple[list[_Row], list[str]]:
    """The rows that have a path and a label, as their cells have it, and the names of those that
    have no label."""
    nothing = [None] * len(table.lines)
    names, labels, splits, groups, weights = (
        table.columns[used[kind]] if kind in used else nothing for kind in LabelColumns.model_fields
    )
    rows, unlabelled = [], []
    for number, (name, line) in enumerate(zip(names, table.lines, strict=True)):
        if name is None:
            continue
        label = single_label(labels[number], where, line)
        if label is None:
            unlabelled.append(f"{name} (line {line})")
            continue
        weight = _weight(weights[number], where, line) if "weight" in used else None
        known = PathLabel(label, splits[number], groups[number], weight)
        rows.append(_Row(line, name, found[number], known))
    if not rows:
        raise PipelineError(
            f"{where}: no row has a label in column {used['label']!r}; fill it in, or name another "
            "column in split.columns.label"
        )
    return rows, unlabelled


def _find_splits(
    rows: list[_Row], column: str | None, columns: LabelColumns, where: str
) -> tuple[list[str | None], list[str]]:
    """The split of each row by the table's column, or by the first folders of all files if they
    name two splits or more, and a remark where the column has none.

    Raises:
        PipelineError: some rows have a split and others none, or a split that is none.
    """
    remarks = []
    if column is not None:
        cells, must_be = [row.label.split for row in rows], columns.split is not None
        splits = splits_named(cells, f"{where}, column {column!r}", must_be=must_be)
        if all(splits):
            return splits, []
        if any(splits):
            raise PipelineError(
                f"{where}: {splits.count(None)} of {len(splits)} rows have no split in column "
                f"{column!r}; fill it in, or leave it empty in all rows to have the images divided"
            )
        remarks = [f"column {column!r} has no names of splits and is not used"]
    by_folder = splits_by_folder([row.path for row in rows if row.path])
    return [by_folder.get(row.path) for row in rows], remarks


def _one_row_each(
    rows: list[_Row], table: Table, where: str
) -> tuple[dict[str, PathLabel], list[str]]:
    """The labels by path, and the names of rows that repeat an earlier one.

    Raises:
        PipelineError: two rows of a file contradict each other.
    """
    first: dict[str, _Row] = {}
    repeated, conflicts = [], []
    for row in rows:
        if row.path is None:
            continue
        known = first.setdefault(row.path, row)
        if known.label != row.label:
            conflicts.append(
                f"{row.path!r} is {_differences(known.label, row.label)} (lines {known.line} and "
                f"{row.line})"
            )
        elif known is not row:
            repeated.append(f"{row.name} (line {row.line})")
    if conflicts:
        boxes = (
            ". Its columns are those of boxes, as data for detection has: cut the objects out into "
            "folders of their classes"
            if _BOX_COLUMNS & {name.lower().replace("_", "") for name in table.columns}
            else ""
        )
        raise PipelineError(
            f"{where}: {count_of(len(conflicts), 'row')} contradict earlier ones: "
            f"{first_few(conflicts, separator='; ')}; keep one row for each image{boxes}"
        )
    return {path: row.label for path, row in first.items()}, repeated


def _weight(cell: str | None, where: str, line: int) -> float:
    """How much an image counts in training; 1 where the cell is empty.

    Raises:
        PipelineError: no number, or a negative one.
    """
    try:
        weight = 1.0 if cell is None else float(cell.replace(",", "."))
    except ValueError:
        weight = -1.0
    if not 0 <= weight < float("inf"):
        raise PipelineError(
            f"{where}, line {line}: the weight {cell!r} is no number of 0 or more; correct it, or "
            "set split.columns.weight to null"
        )
    return weight


def _named(used: dict[str, str], columns: LabelColumns) -> str:
    """The columns in use, and which of them were guessed, in words."""
    guessed = {kind for kind, column in columns if column is None}
    return ", ".join(
        f"{kind} in column {column!r}{' (guessed)' if kind in guessed else ''}"
        for kind, column in used.items()
    )


def _splits_of(table: Table, place: str) -> list[str | None]:
    """The split of each row, by a column that is called so or by the name of the table's file."""
    for column in named_columns(table, _SPLIT_COLUMNS):
        splits = name_splits({cell for cell in table.columns[column] if cell})
        return [splits.get(cell or "") for cell in table.columns[column]]
    name = Path(place).stem
    return [name_splits([name]).get(name)] * len(table.lines)


def _check_classes(labels: dict[str, PathLabel], column: str, *, is_guessed: bool) -> None:
    """Refuse a column of one value, of a value of its own for each of many images, or, if it was
    guessed, of measured numbers: it is no label."""
    names = {label.class_name for label in labels.values()}
    if len(names) == 1:
        raise PipelineError(
            f"{column}: every row that names an image has the label {names.pop()!r}; two or more "
            "are needed: is it the right column (split.columns.label)?"
        )
    if len(labels) >= _MANY and len(names) == len(labels):
        raise PipelineError(
            f"{column}: each of the {len(labels)} images has a value of its own, so these are no "
            "classes; name the column of the label in split.columns.label"
        )
    if is_guessed:
        check_no_measures(names, column)


def _choose_columns(
    table: Table, columns: LabelColumns, path_column: str, where: str
) -> tuple[Table, dict[str, str]]:
    """The label column, and those of split and group if there are any, by what they are; and the
    table, with a column of labels where it has one for each class."""
    used = {}
    for kind, names in (
        ("label", LABEL_NAMES),
        ("split", _SPLIT_COLUMNS),
        ("group", _GROUP_NAMES),
    ):
        if (given := getattr(columns, kind)) is not None:
            check_column(table, given, kind, where)
            used[kind] = given
        elif candidates := [
            c for c in named_columns(table, names) if c not in (path_column, *used.values())
        ]:
            used[kind] = candidates[0]
    if columns.weight is not None:  # never guessed: it may be what an animal weighs
        check_column(table, columns.weight, "weight", where)
        used["weight"] = columns.weight
    if "label" not in used:
        others = {path_column, *used.values()}
        if one_hot := with_one_hot_labels(table, others, where):
            table, used["label"] = one_hot
            return table, used
        rest = [name for name in table.columns if name not in others]
        rest = [name for name in rest if _may_be_label(table.columns[name])] or rest
        if len(rest) != 1:
            check_no_shares({name: table.columns[name] for name in rest}, where)
            raise PipelineError(
                f"{where}: which column is the label? Beside the path in {path_column!r} there "
                f"are {', '.join(map(repr, rest)) or 'none'}; name it in split.columns.label"
            )
        used["label"] = rest[0]
    return table, used


def _may_be_label(cells: list[str | None]) -> bool:
    """Whether values recur and differ, as those of a label do, and not those of a number of the
    row."""
    found = {cell for cell in cells if cell}
    return 2 <= len(found) < sum(cell is not None for cell in cells)


def _unused(table: Table, used: dict[str, str]) -> list[str]:
    """A remark on a column that looks like weights and is not used."""
    return [
        f"column {column!r} is not used; if it says how much each image counts in training, name "
        "it in split.columns.weight"
        for column in named_columns(table, _WEIGHT_NAMES)
        if column not in used.values()
    ]


def _differences(known: PathLabel, row: PathLabel) -> str:
    return " and ".join(
        f"{before!r} and {after!r}"
        for before, after in zip(known, row, strict=True)
        if before != after
    )
