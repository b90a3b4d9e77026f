"""Several tables of a folder, or of an archive, as one: those of Hugging Face and Roboflow in the
folders of splits, `train.csv` beside `test.csv`, the lists of CUB-200, lists of paths named by
their classes, and notes beside the pictures."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from transfer.labels.class_lists import may_be_class_lists, read_class_lists
from transfer.labels.folder_words import SPLITS, are_parts, name_splits, words_beside_split
from transfer.labels.listing import first_few
from transfer.labels.picture_notes import list_notes, read_notes
from transfer.labels.row_files import PATH_NAMES, named_columns
from transfer.labels.table import Table, lines_of
from transfer.labels.tables import SUFFIXES, read_content, read_table
from transfer.runtime.errors import PipelineError

# Names of tables in the folders of images, of Hugging Face and Roboflow.
METADATA = (
    *("metadata.csv", "metadata.jsonl", "metadata.parquet", "_classes.csv", "_annotations.csv"),
)
_PATHS_IN_METADATA = ("file_name", "filename")
_WORDS_OF_LABELS = {"label", "labels", "annotation", "annotations", "gt"}
# CUB-200's lists: a number and what belongs to it in each line.
_PATHS, _LABELS, _NAMES = "images.txt", "image_class_labels.txt", "classes.txt"
_IS_TRAIN = "train_test_split.txt"


def read_tables(folder: Path, packed: Mapping[Path, bytes] | None = None) -> Table:
    """The tables of a folder as one.

    Args:
        packed: as in `read_table`.

    Raises:
        PipelineError: there are none that belong together, or as `read_table`.
    """
    paths = [*packed] if packed else _files(folder)
    if metadata := sorted(path for path in paths if path.name in METADATA):
        return _read_metadata(metadata, folder, packed)
    if alike := tables_of_one_name(paths):
        return _read_metadata(alike, folder, packed)
    own = [path for path in paths if path.parent == folder]
    if is_cub(own):
        return _read_cub(folder, own, packed)
    if (lists := read_class_lists(own, packed)) is not None:
        return lists
    if several := several_sets_of_splits(own):
        raise PipelineError(describe_several(several))
    if splits := tables_of_splits(own):
        return _read_splits(splits, folder, packed)
    if parts := tables_of_parts(own):
        tables = [read_table(path, packed) for path in parts]
        return _joined(tables, f"{len(parts)} tables, {tables[0].form}")
    if not packed and (notes := list_notes(folder)):
        return read_notes(notes, folder, packed).table
    raise PipelineError(
        f"{str(folder)!r} is a folder without a {', '.join(METADATA)}, without tables named after "
        "splits, train.csv and test.csv say, and without a .txt or .json for each picture; name "
        "the table in it"
    )


def _files(folder: Path) -> list[Path]:
    tables = (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    return [path for path in tables if path.is_file()]


def folders_of_tables(paths: Sequence[Path], root: Path) -> list[Path]:
    """The folders whose tables `read_tables` reads as one, `root` first, if it has any."""
    metadata = sum(path.name in METADATA for path in paths) > 1 or bool(tables_of_one_name(paths))
    folders = {parent: [] for parent in dict.fromkeys(path.parent for path in paths)}
    for path in paths:
        folders[path.parent].append(path)
    together = [
        folder
        for folder, own in folders.items()
        if is_cub(own) or tables_of_splits(own) or tables_of_parts(own) or may_be_class_lists(own)
    ]
    return list(dict.fromkeys([root] * metadata + together))


def tables_of_one_name(paths: Collection[Path]) -> list[Path]:
    """The tables that have one name in two or more folders, for example `train/labels.csv` and
    `val/labels.csv`; of several names the commonest."""
    by_name: dict[str, list[Path]] = {}
    for path in paths:
        if may_be_table(path.name):
            by_name.setdefault(path.name, []).append(path)
    most = max(by_name.values(), key=len, default=[])
    return sorted(most) if len(most) > 1 else []


def may_be_table(name: str) -> bool:
    """Whether a file that lies in many folders may be a table of labels by its name, and is no
    text that programs and people leave, nor a list of classes."""
    stem, suffix = Path(name).stem.lower(), Path(name).suffix.lower()
    return suffix in SUFFIXES and "readme" not in stem and not stem.startswith("class")


def tables_of_parts(paths: Collection[Path]) -> list[Path]:
    """Of the files of a folder, those of one suffix whose names are those of parts of one table,
    for example `fold0.csv` and `fold1.csv`."""
    for suffix in SUFFIXES:
        found = sorted(path for path in paths if path.suffix.lower() == suffix)
        if are_parts([path.stem for path in found]):
            return found
    return []


def is_cub(paths: Collection[Path]) -> bool:
    """Whether the files of a folder are CUB-200's lists."""
    return {_PATHS, _LABELS} <= {path.name for path in paths}


def tables_of_splits(paths: Collection[Path]) -> dict[Path, str]:
    """Of the files of a folder, the tables of one suffix that are named after splits, train among
    two or more: the split of each; none where there are several such sets."""
    for suffix in sorted(SUFFIXES, key=(".txt", ".lst").__contains__):  # lists have the fewest
        sets = _sets_of_splits([path for path in paths if path.suffix.lower() == suffix])
        if len(chosen := _plain_sets(sets)) == 1:
            return chosen[0]
    return {}


def several_sets_of_splits(paths: Collection[Path]) -> list[Path]:
    """The tables of a folder that are named after splits in several sets, as FGVC Aircraft's
    `images_family_train.txt` and `images_variant_train.txt` are; none where there is one set."""
    for suffix in SUFFIXES:
        sets = _sets_of_splits([path for path in paths if path.suffix.lower() == suffix])
        if len(_plain_sets(sets)) > 1:
            return sorted(path for each in sets for path in each)
    return []


def _plain_sets(sets: list[dict[Path, str]]) -> list[dict[Path, str]]:
    """Of several sets the only one without other words than those of splits and labels, for example
    `train.csv` beside `train_boxes.csv`; all sets if there is no such one."""
    plain = [each for each in sets if words_beside_split(next(iter(each)).stem) <= _WORDS_OF_LABELS]
    return plain if len(plain) == 1 else sets


def describe_several(paths: Collection[Path]) -> str:
    """What to do about tables that `several_sets_of_splits` finds, in words."""
    return (
        f"{first_few(map(str, paths))} are several sets of tables named after splits: put those "
        "of one set into a folder of their own, and name that (split.labels)"
    )


def _sets_of_splits(paths: Collection[Path]) -> list[dict[Path, str]]:
    """The tables named after splits, with the split of each, in sets of the same other words; those
    with train among two or more, each once."""
    splits = name_splits([path.stem for path in paths])
    sets: dict[frozenset[str], dict[Path, str]] = {}
    for path in sorted(paths):
        if path.stem in splits:
            sets.setdefault(words_beside_split(path.stem), {})[path] = splits[path.stem]
    found = []
    for tables in sets.values():
        single = {
            path: split for path, split in tables.items() if not _is_train_and_validation(path.stem)
        }
        tables = single if {"train", "validation"} <= {*single.values()} else tables
        kinds = [*tables.values()]
        if "train" in kinds and len({*kinds}) == len(kinds) > 1:
            found.append(tables)
    return found


def _is_train_and_validation(name: str) -> bool:
    """Whether a list of this name has the images of both, for example `trainval`."""
    return "train" in name.lower() and "val" in name.lower()


def _read_metadata(found: list[Path], folder: Path, packed: Mapping[Path, bytes] | None) -> Table:
    """Their paths from the folder, and the columns that all have."""
    tables = [read_table(path, packed) for path in found]
    names = _PATHS_IN_METADATA if found[0].name in METADATA else PATH_NAMES
    column = next(iter(named_columns(tables[0], names)), None)
    if column is None and found[0].name not in METADATA:
        column = next(iter(tables[0].columns))
    for path, table in zip(found, tables, strict=True):
        if column not in table.columns:
            raise PipelineError(
                f"{str(path)!r} has no column {column or _PATHS_IN_METADATA[0]!r}, as such a table "
                "has; name the table itself"
            )
    prefixes = [path.parent.relative_to(folder) for path in found]
    joined = _joined(tables, f"{len(found)} tables, {tables[0].form}")
    paths = [
        cell and (prefix / cell).as_posix()
        for prefix, table in zip(prefixes, tables, strict=True)
        for cell in table.columns[column]
    ]
    return Table(joined.columns | {column: paths}, joined.lines, joined.form)


def _joined(tables: Sequence[Table], form: str) -> Table:
    """The rows of all tables, with the columns that all have."""
    columns = {
        name: [cell for table in tables for cell in table.columns[name]]
        for name in tables[0].columns
        if all(name in table.columns for table in tables)
    }
    return Table(columns, [line for table in tables for line in table.lines], form)


def _read_splits(
    splits: Mapping[Path, str], folder: Path, packed: Mapping[Path, bytes] | None
) -> Table:
    """Tables that are named after splits as one, with the column `split`; those that lack columns
    of train's have no labels, and are passed over."""
    train = next(path for path, split in splits.items() if split == "train")
    names = read_table(train, packed).columns
    tables, without = {}, []
    for path in splits:
        try:
            tables[path] = read_table(path, packed)
        except PipelineError:  # a list of paths alone, say
            without.append(path.name)
            continue
        if not {*names} <= {*tables[path].columns}:
            del tables[path]
            without.append(path.name)
    if len(tables) == 1:
        raise PipelineError(
            f"{str(folder)!r}: of the tables named after splits only {train.name} has labels; name "
            "it"
        )
    columns: dict[str, list[str | None]] = {
        name: [cell for table in tables.values() for cell in table.columns[name]] for name in names
    }
    if "split" not in columns:
        columns["split"] = [
            splits[path] for path, table in tables.items() for _ in range(len(table.lines))
        ]
    form = f"{', '.join(path.name for path in tables)}, {tables[train].form}" + (
        f"; without the columns of {train.name} and not read: {', '.join(without)}"
        if without
        else ""
    )
    return Table(columns, [line for table in tables.values() for line in table.lines], form)


def _read_cub(folder: Path, own: Collection[Path], packed: Mapping[Path, bytes] | None) -> Table:
    """CUB-200's lists, joined by the numbers of the images."""
    lists = {
        name: _pairs(folder / name, packed)
        for name in (_PATHS, _LABELS, _NAMES, _IS_TRAIN)
        if folder / name in own
    }
    numbers = [*lists[_PATHS]]
    names = lists.get(_NAMES, {})
    labels = [lists[_LABELS].get(number) for number in numbers]
    columns = {
        "path": [lists[_PATHS][number] for number in numbers],
        "label": [label and names.get(label, label) for label in labels],
    }
    if is_train := lists.get(_IS_TRAIN):
        splits = {"1": SPLITS[0], "0": SPLITS[2]}
        columns["split"] = [splits.get(is_train.get(number, "")) for number in numbers]
    lines = list(range(1, len(numbers) + 1))
    return Table(columns, lines, f"lists of CUB-200: {', '.join(lists)}")


def _pairs(path: Path, packed: Mapping[Path, bytes] | None) -> dict[str, str]:
    """The first word of each line, and what follows it.

    Raises:
        PipelineError: a line has one word.
    """
    content = read_content(path, packed)
    pairs = {}
    for number, line in enumerate(lines_of(content.decode("utf-8", "replace")), 1):
        if not line.strip():
            continue
        words = line.strip().split(maxsplit=1)
        if len(words) < 2:
            raise PipelineError(
                f"{str(path)!r}, line {number}: {words[0][:60]!r} instead of a number and what "
                "belongs to it"
            )
        pairs[words[0]] = words[1]
    return pairs
