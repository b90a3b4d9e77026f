"""Columns of yes and no (`is_valid`), or of numbers, made into one column of splits."""

import re

from transfer.labels.folder_words import SPLITS
from transfer.labels.one_hot import VALUES
from transfer.labels.row_files import LABEL_NAMES, named_columns
from transfer.labels.table import Table

_TRAIN, _VALIDATION, _TEST = SPLITS
_FLAGS = {  # columns of yes and no: the split of yes, and that of no
    "is_valid": (_VALIDATION, _TRAIN),
    "is_val": (_VALIDATION, _TRAIN),
    "is_validation": (_VALIDATION, _TRAIN),
    "is_test": (_TEST, _TRAIN),
    "is_train": (_TRAIN, _TEST),
    "is_training": (_TRAIN, _TEST),
    "is_testing": (_TEST, _TRAIN),
}
# The same without `is`; a class may be called so, in a table with a column for each class.
_BARE = {name.removeprefix("is_") for name in _FLAGS}
_NUMBERS = {"0": _TRAIN, "1": _VALIDATION, "2": _TEST}  # CelebA's
_NUMBERED = ("split", "partition")


def with_split_column(table: Table) -> tuple[Table, str | None, list[str]]:
    """The table with one column of splits in place of those of yes and no (`is_valid`, `is_test`),
    or of 0, 1 and 2 (`partition`); its name, None where there are none such, and their names."""
    plain = {name: _plain(name) for name in table.columns}
    flags = [
        name
        for name, cells in table.columns.items()
        if plain[name] in _FLAGS and {cell.lower() for cell in cells if cell} <= {*VALUES}
    ]
    bare = [
        name
        for name, cells in table.columns.items()
        if plain[name] in _BARE and {cell.lower() for cell in cells if cell} <= {*VALUES}
    ]
    if not flags and bare and named_columns(table, LABEL_NAMES):
        flags = bare
        plain |= {name: f"is_{plain[name]}" for name in bare}
    numbered = [
        name
        for name, cells in table.columns.items()
        if plain[name] in _NUMBERED and {"0", "1"} <= {*filter(None, cells)} <= {*_NUMBERS}
    ]
    if flags:
        names, title = flags, f"{', '.join(flags)} (yes or no)"
        rows = zip(*(table.columns[name] for name in flags), strict=True)
        splits = [_of_flags([plain[name] for name in flags], cells) for cells in rows]
    elif numbered:
        names, title = numbered[:1], f"{numbered[0]} (0: train, 1: validation, 2: test)"
        splits = [cell and _NUMBERS[cell] for cell in table.columns[numbered[0]]]
    else:
        return table, None, []
    columns = {name: cells for name, cells in table.columns.items() if name not in names}
    return Table(columns | {title: splits}, table.lines, table.form), title, names


def _of_flags(names: list[str], cells: tuple[str | None, ...]) -> str | None:
    """The split of the first column that says yes, or that of the first one's no."""
    if None in cells:
        return None
    said = [
        _FLAGS[name][0]
        for name, cell in zip(names, cells, strict=True)
        if cell and VALUES[cell.lower()]
    ]
    return said[0] if said else _FLAGS[names[0]][1]


def _plain(name: str) -> str:
    plain = re.sub(r"[\s.-]+", "_", name.strip()).lower()
    return re.sub(r"^is(?=[a-z])", "is_", plain)
