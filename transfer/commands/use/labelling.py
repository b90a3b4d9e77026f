"""How a source labels its images: by folders, by a table in it or beside it, or as it was told."""

import contextlib
import re
import shlex
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from transfer.commands.use.source_path import as_source
from transfer.commands.use.survey import Survey, first_five
from transfer.labels.class_names import are_codes, may_name_classes, read_class_names
from transfer.labels.find_labels import NO_TABLE, find_path_labels
from transfer.labels.folder_words import is_called_by_programs
from transfer.labels.inner_folders import describe_empty_folders, describe_inner_folders
from transfer.labels.layout import find_layout
from transfer.labels.mask_files import masks_by_name
from transfer.labels.packed_tables import may_be_labels, tables_among
from transfer.labels.path_label import LabelColumns, PathLabels
from transfer.labels.picture_notes import (
    describe_boxed,
    folder_of_notes,
    notes_among,
    read_notes,
)
from transfer.labels.table_folders import folders_of_tables, several_sets_of_splits
from transfer.runtime.errors import PipelineError
from transfer.runtime.extras import explain_missing
from transfer.sources.reader import LOCKED
from transfer.storage.object_store import is_url

_SHOWN_TABLES, _TRIED_NAMES = 2, 10
_SIGNS = {"-1", "0", "1"}
_SHEET_SUFFIXES = (".xlsx", ".xls", ".ods")
_LABEL_SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".parquet")
# Problems of folders that are to be moved: a pattern would read what is in all of them.
_TO_MOVE = re.compile(r"looks already split|a copy|split itself|as a copy of|their masks|move it")
# Problems of tables that are none, which say nothing to a person.
_NOTHING_SAID = "no row names|only one column|divides its lines|is a folder without"
_LABELS_IN_NAMES = (  # cat.0.jpg, 0_cat.jpg or img0_cat.jpg
    r"(?:^|/)(?P<label>[^/\d]*[^/\d\W_])[ ._(#-]*\d+[^/]*$",
    r"(?:^|/)[^/]*\d[ ._(#-]+(?P<label>[^/\d]*[^/\d\W_])\.\w+$",
)


class Labelled(NamedTuple):
    """How the source labels its images.

    layout: in words. images: the number of each class and split, None where there are no splits.
    remarks: on the layout, a table or a pattern. rejected: how many files `split` will reject, as
    far as their first bytes say. paths: of the images. empty: class folders without an image.
    """

    layout: str
    images: Counter[tuple[str, str | None]]
    is_split: bool
    remarks: list[str]
    rejected: int
    paths: frozenset[str]
    empty: tuple[str, ...] = ()

    @property
    def classes(self) -> Counter[str]:
        """The number of images of each class."""
        classes = Counter()
        for (name, _), count in self.images.items():
            classes[name] += count
        return classes


def label_by_words(
    source: str, found: Survey, labels: str, columns: LabelColumns, pattern: str | None
) -> Labelled:
    """The labels by a table or a pattern.

    Raises:
        PipelineError: as `find_path_labels`; an expression that is none.
    """
    try:
        path_labels = find_path_labels(
            found.images, found.others, source, labels, columns, pattern, found.beside
        )
    except ValueError as error:
        raise PipelineError(f"--label-pattern {shlex.quote(pattern)}: {error}") from None
    return _described(path_labels, found, "by a pattern" if pattern is not None else "by a table")


def _described(path_labels: PathLabels, found: Survey, words: str) -> Labelled:
    others = {*found.others}
    images = [label for path, label in path_labels.labels.items() if path not in others]
    is_split = path_labels.is_split
    return Labelled(
        words,
        Counter((label.class_name, label.split if is_split else None) for label in images),
        is_split,
        path_labels.remarks,
        rejected=len(path_labels.labels) - len(images) + len(path_labels.missing),
        paths=frozenset(path_labels.labels) - others,
    )


def label_without_words(source: str, found: Survey, columns: LabelColumns) -> tuple[str, Labelled]:
    """The labels that the source itself has: `split.labels`, and by folders or a table in it.

    Raises:
        PipelineError: neither class folders nor a table; a pattern that may serve is named.
    """
    by_table, refused = ({}, []) if is_url(source) else labels_by_tables(source, found, columns)
    best = max(by_table, key=lambda table: len(by_table[table].labels), default=None)
    try:
        labelled = label_by_folders(source, found)
    except PipelineError as problem:
        notes, described = ({}, []) if best else labels_by_notes(source, found, columns)
        if best is None and notes:
            by_table, best = notes, next(iter(notes))
        if best is None:
            refused = described + refused
            by_name = "" if _TO_MOVE.search(str(problem)) else hint(found.images)
            words = [f"{problem}{by_name}", *refused[:_SHOWN_TABLES]]
            raise PipelineError(". ".join(words + unread(found))) from None
        labelled = _described(by_table[best], found, "by a table")
        remarks = [*labelled.remarks, *_otherwise(by_table, best)]
        return best, labelled._replace(remarks=remarks)
    if named := [(kind, name) for kind, name in columns if name is not None]:
        raise PipelineError(
            f"--column {'='.join(named[0])} is of a table, and the labels are those of folders; "
            "name the table with --labels"
        )
    if best is not None:
        labelled.remarks.append(_also(best, by_table[best], labelled.paths))
    return NO_TABLE, labelled


def _also(table: str, labels: PathLabels, by_folder: frozenset[str]) -> str:
    """A sentence on a table that labels images of a source with class folders."""
    if not by_folder & labels.labels.keys():
        return (
            f"{labels.place} labels {len(labels.labels)} images that the folders leave out; either "
            "folders or a table is read: move these images into folders of their classes, or give "
            "a table of all with --labels"
        )
    own = ", with splits of its own" if labels.is_split else ""
    return (
        f"{labels.place} labels {len(labels.labels)} of the images too{own}; "
        f"--labels {shlex.quote(table)} takes it instead of the folders"
    )


def _otherwise(by_table: dict[str, PathLabels], best: str) -> list[str]:
    """Sentences on tables that label images otherwise than the best one, with some of its words."""
    known = {path: label.class_name for path, label in by_table[best].labels.items()}
    remarks = []
    for table, labels in by_table.items():
        own = {path: label.class_name for path, label in labels.labels.items()}
        other = sorted(path for path in known.keys() & own.keys() if known[path] != own[path])
        if other and {*known.values()} & {*own.values()}:
            remarks.append(
                f"{table} labels {len(other):,} of these images otherwise, {other[0]} as "
                f"{own[other[0]]!r} and not {known[other[0]]!r}: remove the older one, or choose "
                f"with --labels {shlex.quote(table)}"
            )
    return remarks


def label_by_folders(source: str, found: Survey) -> Labelled:
    """The classes by folders.

    Raises:
        PipelineError: there are fewer than two.
    """
    layout = find_layout(
        [*(file.path for file in found.files), *found.beside, *found.folders], source
    )
    masks = {path for path in found.images if layout.is_mask(path)} | masks_by_name(found.images)
    images = [path for path in found.images if path not in masks]
    places = {path: layout.place(path) for path in images}
    placed = [place for path in images if (place := places[path])]
    classes = {name for _, name in placed}
    if len(classes) < 2:
        raise PipelineError(_too_few_classes(source, found, classes))
    words = "a folder for each class"
    if layout.is_split:
        splits = Counter(split for split, _ in placed)
        words = "already split into " + ", ".join(f"{name} ({n})" for name, n in splits.items())
    unlabelled = [path for path in images if layout.is_unlabelled(path)]
    outside = sorted({path for path, place in places.items() if place is None} - {*unlabelled})
    remarks = [
        *_left_out(unlabelled, "image without a label", "images without labels"),
        *_left_out(sorted(masks), "mask of a picture beside it", "masks of pictures beside them"),
        *describe_inner_folders(layout, images),
        *describe_empty_folders(layout),
    ]
    if doubtful := sorted(filter(is_called_by_programs, classes)):
        remarks.append(
            f"folders called so are of programs mostly: {first_five(doubtful)}; move them out of "
            "the source if they are no classes"
        )
    if outside:
        lie = "1 image lies" if len(outside) == 1 else f"{len(outside)} images lie"
        remarks.append(
            f"{lie} in no class folder, and `split` rejects such files: {first_five(outside)}"
        )
    named = {place[1] for folder in found.folders if (place := layout.place(folder))}
    problems = [path for path in found.others if not layout.is_unlabelled(path)]
    return Labelled(
        words,
        Counter((name, split) for split, name in placed),
        layout.is_split,
        remarks,
        rejected=len(outside) + len(problems),
        paths=frozenset(path for path, place in places.items() if place),
        empty=tuple(sorted(named - classes)),
    )


def _too_few_classes(source: str, found: Survey, classes: set[str]) -> str:
    """What to say of a source with one class folder or none."""
    folders = f"one class folder, {next(iter(classes))!r}" if classes else "no class folders"
    locked = [file for file in found.files if (file.problem or "").startswith(LOCKED)]
    return (
        f"split.source = {source!r} has {folders}; two or more are needed: put each class's images "
        "in a folder of its own, or give --labels or --label-pattern"
        + "".join(f". {file.path} is {file.problem}" for file in locked[:1])
    )


def _left_out(paths: list[str], one: str, several: str) -> list[str]:
    """A sentence on images that are no part of any class, if there are some."""
    if not paths:
        return []
    are = f"1 {one} is" if len(paths) == 1 else f"{len(paths):,} {several} are"
    return [f"{are} left out: {first_five(paths)}"]


def find_class_names(source: str, found: Survey, labelled: Labelled) -> str | None:
    """The file in the source that names classes which are numbers or codes; None where there is
    none."""
    if is_url(source) or not are_codes(labelled.classes):
        return None
    paths = sorted(filter(may_name_classes, found.beside), key=lambda path: path.count("/"))
    for path in paths[:_TRIED_NAMES]:
        with contextlib.suppress(PipelineError):  # a list of something else
            read_class_names(source, path, labelled.classes)
            return path
    return None


def with_class_names(source: str, path: str | None, labelled: Labelled) -> Labelled:
    """The same with the names of the classes by a file in the source, if one is given.

    Raises:
        PipelineError: as `read_class_names`.
    """
    if path is None:
        return labelled
    names = read_class_names(source, path, labelled.classes)
    images = Counter(
        {(names[name], split): count for (name, split), count in labelled.images.items()}
    )
    said = first_five([f"{code!r} is {name!r}" for code, name in sorted(names.items())])
    remark = f"classes named by {path}: {said}"
    return labelled._replace(images=images, remarks=[*labelled.remarks, remark])


def labels_by_tables(
    source: str, found: Survey, columns: LabelColumns
) -> tuple[dict[str, PathLabels], list[str]]:
    """What the tables in a folder, or beside it or an archive, say of its images; and why those do
    not serve that name images."""
    place = Path(source)
    among = tables_among(found.beside, notes_among(found.beside, found.images))
    tables = [place / path for path in among] if place.is_dir() else []
    tables += _tables_beside(place)
    several = folders_of_tables(tables, place)
    in_sets = {  # none of these is to be taken alone, since each is a part of a set
        path
        for folder in several
        for path in several_sets_of_splits([path for path in tables if path.parent == folder])
    }
    tables = [path for path in tables if may_be_labels(path.name) and path not in in_sets]
    packed = [place] if place.is_file() and among else []
    found_labels, refused, elsewhere = {}, [], []
    for table in [*several, *tables, *packed]:
        try:
            name = as_source(str(table))
            labels = find_path_labels(
                found.images, found.others, source, name, columns, None, found.beside
            )
        except ModuleNotFoundError as error:  # Parquet, which an extra reads
            if (install := explain_missing(error)) is None:
                raise
            refused.append(f"{table} is a table of Parquet: {install}")
            continue
        except PipelineError as problem:  # of a table of something else, perhaps
            is_table = table in packed or table.suffix.lower() in _LABEL_SUFFIXES
            if "no row names a file" in str(problem) and is_table:
                elsewhere.append(str(problem))
            elif not re.search(_NOTHING_SAID, str(problem)):
                refused.append(str(problem))
            continue
        if {"-1"} <= {label.class_name for label in labels.labels.values()} <= _SIGNS:
            refused.append(
                f"{name} says yes and no (1, -1) of one class or quality; if those are "
                "the two classes meant, give --labels"
            )
        elif len(labels.labels) > len(labels.missing):
            found_labels[name] = labels
    return found_labels, refused or elsewhere[:1]


def labels_by_notes(
    source: str, found: Survey, columns: LabelColumns
) -> tuple[dict[str, PathLabels], list[str]]:
    """What notes called as the pictures say of them, by `split.labels`; and why they do not serve.
    Boxes of one class in each picture serve only if they are named."""
    paths = [] if is_url(source) else notes_among(found.beside, found.images)
    if not paths:
        return {}, []
    place = Path(source)
    folder = folder_of_notes([place / path for path in paths])
    name = source if place.is_file() else as_source(str(folder))
    try:
        if place.is_dir():
            notes = read_notes([place / path for path in paths], folder, None)
            if notes.of_boxes:
                return {}, [describe_boxed(notes, shlex.quote(name))]
        labels = find_path_labels(
            found.images, found.others, source, name, columns, None, found.beside
        )
    except PipelineError as problem:
        return {}, [str(problem)]
    return {name: labels}, []


def _tables_beside(place: Path) -> list[Path]:
    """The tables that lie beside a folder or an archive."""
    try:
        files = [path.name for path in place.parent.iterdir() if path.is_file()]
    except OSError:  # the folder around it may belong to somebody else
        return []
    return [place.parent / name for name in tables_among(files)]


def unread(found: Survey) -> list[str]:
    """A sentence on workbooks and MATLAB's files, which are not read."""
    for path in sorted(found.beside, key=lambda path: ("label" not in path.lower(), path)):
        if path.lower().endswith(".mat"):
            return [
                f"{path} may have the labels, in MATLAB's form, which is not read; "
                "docs/label-tables.md has the lines that write them to a CSV"
            ]
        if path.lower().endswith(_SHEET_SUFFIXES):
            return [f"{path} may have the labels; save them as CSV"]
    return []


def hint(images: list[str]) -> str:
    """A pattern by which the names of the files have labels, as words to be added to an error."""
    for pattern in _LABELS_IN_NAMES:
        names = Counter(match["label"] for path in images if (match := re.search(pattern, path)))
        if len(names) < 2 or sum(names.values()) < len(images) / 2 or max(names.values()) < 2:
            continue
        found = first_five([f"{name} ({count})" for name, count in names.most_common()])
        return (
            f". The names of the files may have the labels: {found}; if so, add --label-pattern "
            f"'{pattern}'"
        )
    return ""
