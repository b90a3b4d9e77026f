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
from transfer.labels.one_hot import check_no_shares, with_one_hot_labels
from transfer.labels.path_label import LabelColumns, PathLabel, PathLabels
from transfer.labels.row_files import (
    LABEL_NAMES,
    FileIndex,
    check_column,
    count_rows,
    first_few,
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
    rows, unlabelled = _labelled_rows(table, used, found, where)
    rows, remarks = _in_one_spelling(rows)
    column = f"{where}, column {used['label']!r}"
    check_single_labels([row.label.class_name for row in rows], column)
    rows, split_remarks = _with_splits(rows, table, used, columns, where)
    if split_remarks or "split" not in used:
        rows = _with_splits_of_folders(rows)
    used = {kind: name for kind, name in used.items() if kind != "split" or not split_remarks}
    labels, repeated = _one_row_each(rows, table, where)
    if len({label.class_name for label in labels.values()}) == 1:
        raise PipelineError(
            f"{where}: every row that names an image has the label {rows[0].label.class_name!r} in "
            f"column {used['label']!r}; two or more are needed: is it the right column "
            "(split.columns.label)?"
        )
    _check_labels_recur(labels, column)
    if columns.label is None:
        check_no_measures({label.class_name for label in labels.values()}, column)
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
    """A row with a label: its line, its number in the table from 0, the name that it has for a
    file, the file's path in the source or None, and what it says of the file."""

    line: int
    number: int
    name: str
    path: str | None
    label: PathLabel


def _labelled_rows(
    table: Table, used: dict[str, str], found: list[str | None], where: str
) -> tuple[list[_Row], list[str]]:
    """The rows that have a path and a label, without splits yet, and the names of those that have
    no label."""
    rows, unlabelled = [], []
    for number, (name, line) in enumerate(
        zip(table.columns[used["path"]], table.lines, strict=True)
    ):
        if name is None:
            continue
        label = single_label(table.columns[used["label"]][number], where, line)
        if label is None:
            unlabelled.append(f"{name} (line {line})")
            continue
        group = _cell_of(table, used, "group", number)
        weight = _weight(_cell_of(table, used, "weight", number), where, line)
        known = PathLabel(label, None, group, weight if "weight" in used else None)
        rows.append(_Row(line, number, name, found[number], known))
    if not rows:
        raise PipelineError(
            f"{where}: no row has a label in column {used['label']!r}; fill it in, or name another "
            "column in split.columns.label"
        )
    return rows, unlabelled


def _in_one_spelling(rows: list[_Row]) -> tuple[list[_Row], list[str]]:
    """The rows with labels as `one_spelling` has them, and its remarks."""
    spelled, remarks = one_spelling([row.label.class_name for row in rows])
    return [
        row._replace(label=row.label._replace(class_name=label))
        for row, label in zip(rows, spelled, strict=True)
    ], remarks


def _with_splits(
    rows: list[_Row], table: Table, used: dict[str, str], columns: LabelColumns, where: str
) -> tuple[list[_Row], list[str]]:
    """The rows with the splits of the table's column, and a remark where that has none.

    Raises:
        PipelineError: some rows have a split and others none, or a split that is none.
    """
    if "split" not in used:
        return rows, []
    splits = splits_named(
        [_cell_of(table, used, "split", row.number) for row in rows],
        f"{where}, column {used['split']!r}",
        must_be=columns.split is not None,
    )
    if not any(splits):
        return rows, [f"column {used['split']!r} has no names of splits and is not used"]
    if not all(splits):
        raise PipelineError(
            f"{where}: {splits.count(None)} of {len(splits)} rows have no split in column "
            f"{used['split']!r}; fill it in, or leave it empty in all rows to have the images "
            "divided"
        )
    return [
        row._replace(label=row.label._replace(split=split))
        for row, split in zip(rows, splits, strict=True)
    ], []


def _with_splits_of_folders(rows: list[_Row]) -> list[_Row]:
    """The rows with the splits that the first folders of their files name, if all of them do, and
    two or more."""
    splits = splits_by_folder([row.path for row in rows if row.path])
    return [row._replace(label=row.label._replace(split=splits.get(row.path))) for row in rows]


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
            f"{where}: {count_rows(len(conflicts))} contradict earlier ones: "
            f"{first_few(conflicts, '; ')}; keep one row for each image{boxes}"
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


def _check_labels_recur(labels: dict[str, PathLabel], where: str) -> None:
    """Refuse a column with a value of its own for each of many images: it is no label."""
    if len(labels) >= _MANY and len({each.class_name for each in labels.values()}) == len(labels):
        raise PipelineError(
            f"{where}: each of the {len(labels)} images has a value of its own, so these are no "
            "classes; name the column of the label in split.columns.label"
        )


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


def _cell_of(table: Table, used: dict[str, str], kind: str, number: int) -> str | None:
    return table.columns[used[kind]][number] if kind in used else None


def _differences(known: PathLabel, row: PathLabel) -> str:
    return " and ".join(
        f"{before!r} and {after!r}"
        for before, after in zip(known, row, strict=True)
        if before != after
    )
