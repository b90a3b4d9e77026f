"""Labels that are not the names of folders: from a table of paths and labels, or from a regular
expression on the path."""

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from transfer.runtime.errors import PipelineError
from transfer.runtime.params import Params
from transfer.sources.layout import name_splits
from transfer.sources.row_files import (
    FileIndex,
    check_column,
    count_rows,
    first_few,
    folder_in_source,
    match_files,
    named_columns,
)
from transfer.sources.tables import Table, read_table

# DVC wants a path for a dependency: this one, which is empty, stands for no table.
NO_TABLE = "transfer/sources/no_table.csv"
_NO_SPLIT = {"unassigned", ""}  # Vertex AI divides these itself
_LABEL_NAMES = (
    *("label_name", "class_name", "category_name", "label", "labels", "class", "classname"),
    *("category", "target", "choice", "tag", "species", "breed", "diagnosis", "dx", "y"),
)
_SPLIT_COLUMNS = ("split", "subset", "set", "partition", "ml_use", "usage", "dataset")
_GROUP_NAMES = (
    *("group", "group_id", "patient", "patient_id", "subject", "subject_id", "lesion_id"),
    *("individual_id", "sequence_id", "session_id", "burst_id"),
)
_WEIGHT_NAMES = ("weight", "weights", "sample_weight")


class LabelColumns(Params):
    """The columns of the table by name; None is guessed, and weight is not used then."""

    path: str | None
    label: str | None
    split: str | None
    group: str | None
    weight: str | None


class PathLabel(NamedTuple):
    """What is known of one image: its class, and its split, group and weight in training if it has
    them."""

    class_name: str
    split: str | None = None
    group: str | None = None
    weight: float | None = None


@dataclass(frozen=True)
class PathLabels:
    """The labels of a source's files.

    labels: by path in the source. missing: what the table names and the source does not have.
    is_split: every labelled file has its split. remarks: what a person should read, one line each.
    columns: the table's columns in use, by what they are: path, label, split, group, weight.
    """

    labels: dict[str, PathLabel]
    missing: list[str] = field(default_factory=list)
    is_split: bool = False
    remarks: list[str] = field(default_factory=list)
    columns: dict[str, str] = field(default_factory=dict)


def find_path_labels(
    images: Sequence[str],
    others: Sequence[str],
    source: str,
    table: str,
    columns: LabelColumns,
    pattern: str | None,
) -> PathLabels | None:
    """The labels of a source's files by its table or pattern; None where folders have the labels.

    Args:
        images: paths in the source, of images that can be read. others: of all other files.
        table: `split.labels`. pattern: `split.label_pattern`.

    Raises:
        PipelineError: as `label_by_table` and `label_by_pattern`, or both are given.
    """
    if table == NO_TABLE:
        if named := [name for name, column in columns if column is not None]:
            raise PipelineError(
                f"split.columns.{named[0]} = {getattr(columns, named[0])!r}, but split.labels "
                "names no table; name it, or set the column back to null"
            )
        return None if pattern is None else label_by_pattern(images, pattern)
    if pattern is not None:
        raise PipelineError(
            f"split.labels = {table!r} and split.label_pattern = {pattern!r} both give labels; set "
            f"label_pattern to null, or labels to {NO_TABLE}"
        )
    return label_by_table(read_table(Path(table)), images, others, source, table, columns)


def label_by_pattern(images: Sequence[str], pattern: str) -> PathLabels:
    """The labels that the group `label` of a regular expression matches in the paths; groups named
    `split` and `group` are used too.

    Raises:
        PipelineError: no path matches, or a split is none.
    """
    expression = compile_pattern(pattern)
    matches = [(path, expression.search(path)) for path in images]
    found = [(path, match.groupdict()) for path, match in matches if match and match["label"]]
    if not found:
        example = f", the first being {images[0]!r}" if images else ""
        raise PipelineError(
            f"split.label_pattern = {pattern!r} matches no path of the {len(images)} images"
            f"{example}; correct the expression"
        )
    where = f"split.label_pattern = {pattern!r}"
    spelled, remarks = _one_spelling([groups["label"] for _, groups in found])
    splits = _splits([groups.get("split") for _, groups in found], where, must_be=True)
    labels = {
        path: PathLabel(label, split, groups.get("group") or None)
        for (path, groups), label, split in zip(found, spelled, splits, strict=True)
    }
    without = [path for path, match in matches if not (match and match["label"])]
    return PathLabels(
        labels,
        is_split=all(splits),
        remarks=[
            f"labels by split.label_pattern: {len(found)} of {len(images)} images match",
            *_counted(without, "does not match it and is left out", "image"),
            *remarks,
        ],
    )


def compile_pattern(pattern: str) -> re.Pattern:
    """The regular expression of `split.label_pattern`.

    Raises:
        ValueError: it is none, or has no group named `label`, or one of another name than
            `label`, `split` and `group`.
    """
    try:
        expression = re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"not a regular expression: {error}") from None
    if "label" not in expression.groupindex:
        raise ValueError(
            r"no group is named label; write (?P<label>...) around the part of the path that is "
            r"the class, such as '/(?P<label>[a-z]+)\.\d+\.jpg$'"
        )
    if unknown := {*expression.groupindex} - {"label", "split", "group"}:
        raise ValueError(
            f"a group is named {sorted(unknown)[0]!r}; only label, split and group mean something"
        )
    return expression


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
            weights that are none; all rows have one label.
    """
    where = f"split.labels = {place!r}"
    folder = folder_in_source(Path(place), source)
    path_column, found, how = match_files(
        table, columns.path, FileIndex(images, others), folder, where
    )
    used = {"path": path_column} | _choose_columns(table, columns, path_column, where)
    rows, unlabelled = _labelled_rows(table, used, found, where)
    rows, remarks = _in_one_spelling(rows)
    rows, split_remarks = _with_splits(rows, table, used, columns, where)
    if split_remarks or "split" not in used:
        rows = _with_splits_of_folders(rows)
    used = {kind: name for kind, name in used.items() if kind != "split" or not split_remarks}
    labels, repeated = _one_row_each(rows, where)
    if len({label.class_name for label in labels.values()}) == 1:
        raise PipelineError(
            f"{where}: every row that names an image has the label {rows[0].label.class_name!r} in "
            f"column {used['label']!r}; two or more are needed: is it the right column "
            "(split.columns.label)?"
        )
    missing = [row.name for row in rows if row.path is None]
    without = [path for path in images if path not in labels]
    return PathLabels(
        labels,
        missing,
        is_split=bool(labels) and all(label.split for label in labels.values()),
        columns=used,
        remarks=[
            f"labels from {place} ({table.form}, {len(table.lines)} rows): {_named(used, columns)}",
            f"{len(labels)} images are found {how}",
            *_counted(missing, "names no file of the source", "row"),
            *_counted(unlabelled, "has no label and is left out", "row"),
            *_counted(without, "has no label in the table and is left out", "image"),
            *_counted(repeated, "repeats an earlier one", "row"),
            *remarks,
            *split_remarks,
            *_unused(table, used),
        ],
    )


class _Row(NamedTuple):
    """A row with a label: its line, the name that it has for a file, the file's path in the source
    or None, and what it says of it."""

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
        label = _single_label(table.columns[used["label"]][number], where, line)
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
    """The rows with labels as `_one_spelling` has them, and its remarks."""
    spelled, remarks = _one_spelling([row.label.class_name for row in rows])
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
    splits = _splits(
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
    splits = _splits_by_folder([row.path for row in rows if row.path])
    return [row._replace(label=row.label._replace(split=splits.get(row.path))) for row in rows]


def _one_row_each(rows: list[_Row], where: str) -> tuple[dict[str, PathLabel], list[str]]:
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
        raise PipelineError(
            f"{where}: {count_rows(len(conflicts))} contradict earlier ones: "
            f"{first_few(conflicts, '; ')}; keep one row for each image"
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


def _choose_columns(
    table: Table, columns: LabelColumns, path_column: str, where: str
) -> dict[str, str]:
    """The label column, and those of split and group if there are any, by what they are."""
    used = {}
    for kind, names in (
        ("label", _LABEL_NAMES),
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
        rest = [name for name in table.columns if name not in (path_column, *used.values())]
        if len(rest) != 1:
            raise PipelineError(
                f"{where}: which column is the label? Beside the path in {path_column!r} there "
                f"are {', '.join(map(repr, rest)) or 'none'}; name it in split.columns.label"
            )
        used["label"] = rest[0]
    return used


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


def _single_label(cell: str | None, where: str, line: int) -> str | None:
    """The one label of a cell; Label Studio and others write choices as JSON."""
    if cell is None or cell[0] not in "[{":
        return cell
    try:
        content = json.loads(cell)
    except ValueError:
        return cell
    if isinstance(content, dict):
        content = content.get("choices", content)
    if isinstance(content, dict) or isinstance(content, list) and len(content) > 1:
        raise PipelineError(
            f"{where}, line {line}: {cell[:80]!r} is more than one label; a model of this pipeline "
            "gives each image one class: keep one label in each row"
        )
    return (str(content[0]) if content else None) if isinstance(content, list) else str(content)


def _one_spelling(labels: Sequence[str]) -> tuple[list[str], list[str]]:
    """The labels in one Unicode form with single spaces; remarks where that joined two, and where
    some differ by case alone, which `split` decides on."""
    plain = [" ".join(unicodedata.normalize("NFC", label).split()) for label in labels]
    written = Counter(zip(plain, labels, strict=True))
    several = {
        name: sorted({label for other, label in written if other == name})
        for name in {name for name, label in written if name != label}
    }
    remarks = [
        f"labels that differ by spaces or Unicode form alone are one: "
        f"{', '.join(f'{label!r} ({written[name, label]})' for label in several[name])}"
        for name in sorted(several)
        if len(several[name]) > 1
    ]
    counts = Counter(plain)
    folded: dict[str, list[str]] = {}
    for name in sorted(counts):
        folded.setdefault(name.casefold(), []).append(name)
    shown = [
        ", ".join(f"{name!r} ({counts[name]})" for name in names)
        for names in folded.values()
        if len(names) > 1
    ]
    if shown:
        remarks.append(
            f"labels that differ by upper and lower case alone: {first_few(shown, '; ')}; "
            "split.merge_case says whether they are one"
        )
    return plain, remarks


def _splits(names: Sequence[str | None], where: str, *, must_be: bool) -> list[str | None]:
    """train, validation or test for each row, None where it says nothing.

    With `must_be`, a name that is no split is an error; without, it makes all of them None, since
    the column was guessed.
    """
    plain = [(name or "").strip() for name in names]
    splits = name_splits({*plain})
    unknown = {name for name in plain if name not in splits and name.lower() not in _NO_SPLIT}
    if unknown and not must_be:
        return [None] * len(plain)
    if unknown:
        raise PipelineError(
            f"{where}: {first_few([repr(name) for name in sorted(unknown)])} is no split; write "
            "train, validation (or val, dev) or test"
        )
    return [splits.get(name) for name in plain]


def _splits_by_folder(paths: Collection[str]) -> dict[str, str]:
    """The split of each path by its first folder, if all lie in folders of two or more splits."""
    splits = name_splits({path.split("/")[0] for path in paths if "/" in path})
    found = {path: splits.get(path.split("/")[0]) for path in paths}
    return found if all(found.values()) and len({*found.values()}) >= 2 else {}


def _differences(known: PathLabel, row: PathLabel) -> str:
    return " and ".join(
        f"{before!r} and {after!r}"
        for before, after in zip(known, row, strict=True)
        if before != after
    )


def _counted(items: Sequence[str], does: str, what: str) -> list[str]:
    """A remark of how many there are with the first of them; none for none."""
    if not items:
        return []
    if len(items) == 1:
        return [f"1 {what} {does}: {items[0]}"]
    plural = re.sub(r"\b(names|has|repeats|is|does)\b", lambda verb: _PLURAL[verb[0]], does)
    return [f"{len(items):,} {what}s {plural}: {first_few(items)}"]


_PLURAL = {"names": "name", "has": "have", "repeats": "repeat", "is": "are", "does": "do"}
