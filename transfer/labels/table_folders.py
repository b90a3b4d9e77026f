"""Several tables of a folder, or of an archive, as one: those of Hugging Face and Roboflow in the
folders of splits, `train.csv` beside `test.csv`, and the lists of CUB-200."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from transfer.labels.folder_words import SPLITS, name_splits
from transfer.labels.table import Table
from transfer.labels.tables import SUFFIXES, read_table
from transfer.runtime.errors import PipelineError

# Names of tables in the folders of images, of Hugging Face and Roboflow.
METADATA = (
    *("metadata.csv", "metadata.jsonl", "metadata.parquet", "_classes.csv", "_annotations.csv"),
)
_PATHS_IN_METADATA = ("file_name", "filename")
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
    own = [path for path in paths if path.parent == folder]
    if is_cub(own):
        return _read_cub(folder, own, packed)
    if splits := tables_of_splits(own):
        return _read_splits(splits, folder, packed)
    raise PipelineError(
        f"{str(folder)!r} is a folder without a {', '.join(METADATA)} and without tables named "
        "after splits, train.csv and test.csv say; name the table in it"
    )


def _files(folder: Path) -> list[Path]:
    tables = (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    return [path for path in tables if path.is_file()]


def folders_of_tables(paths: Sequence[Path], root: Path) -> list[Path]:
    """The folders whose tables `read_tables` reads as one, `root` first, if it has any."""
    metadata = sum(path.name in METADATA for path in paths) > 1
    folders = {parent: [] for parent in dict.fromkeys(path.parent for path in paths)}
    for path in paths:
        folders[path.parent].append(path)
    together = [folder for folder, own in folders.items() if is_cub(own) or tables_of_splits(own)]
    return list(dict.fromkeys([root] * metadata + together))


def is_cub(paths: Collection[Path]) -> bool:
    """Whether the files of a folder are CUB-200's lists."""
    return {_PATHS, _LABELS} <= {path.name for path in paths}


def tables_of_splits(paths: Collection[Path]) -> dict[Path, str]:
    """Of the files of a folder, the tables of one suffix that are named after splits, train among
    two or more: the split of each."""
    for suffix in sorted(SUFFIXES, key=(".txt", ".lst").__contains__):  # lists have the fewest
        found = sorted(path for path in paths if path.suffix.lower() == suffix)
        splits = name_splits([path.stem for path in found])
        tables = {path: splits[path.stem] for path in found if path.stem in splits}
        kinds = [*tables.values()]
        if "train" in kinds and len({*kinds}) == len(kinds) > 1:
            return tables
    return {}


def _read_metadata(found: list[Path], folder: Path, packed: Mapping[Path, bytes] | None) -> Table:
    """Their paths from the folder, and the columns that all have."""
    tables = [read_table(path, packed) for path in found]
    column = next((name for name in _PATHS_IN_METADATA if name in tables[0].columns), None)
    for path, table in zip(found, tables, strict=True):
        if column not in table.columns:
            raise PipelineError(
                f"{str(path)!r} has no column {column or _PATHS_IN_METADATA[0]!r}, as such a table "
                "has; name the table itself"
            )
    prefixes = [path.parent.relative_to(folder) for path in found]
    columns: dict[str, list[str | None]] = {
        name: [cell for table in tables for cell in table.columns[name]]
        for name in tables[0].columns
        if all(name in table.columns for table in tables)
    }
    columns[column] = [
        cell and (prefix / cell).as_posix()
        for prefix, table in zip(prefixes, tables, strict=True)
        for cell in table.columns[column]
    ]
    lines = [line for table in tables for line in table.lines]
    return Table(columns, lines, f"{len(found)} tables, {tables[0].form}")


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
    content = packed[path] if packed else path.read_bytes()
    pairs = {}
    for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), 1):
        if not line.strip():
            continue
        words = line.split(maxsplit=1)
        if len(words) < 2:
            raise PipelineError(
                f"{str(path)!r}, line {number}: {line[:60]!r} instead of a number and what belongs "
                "to it"
            )
        pairs[words[0]] = words[1].strip()
    return pairs
