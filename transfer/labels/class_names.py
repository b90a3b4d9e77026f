"""Names of classes that are numbers or codes in folders and tables: `classes.txt`,
`class_indices.json`, `cat_to_name.json`, ImageNet's and Places' lists, and the like."""

import json
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import PurePosixPath

from transfer.labels.listing import first_few
from transfer.labels.table import lines_of
from transfer.runtime.errors import PipelineError
from transfer.sources.reader import read_source
from transfer.sources.source_file import IMAGE_NAME

MAX_BYTES = 2**22
_CODE = re.compile(r"[a-z]{0,2}\d+", re.IGNORECASE)  # 7, 007, c7, n01440764
_FILE = re.compile(
    r"(class|label|categor|name|index|indices|indict|map|synset|words|breed|species)", re.IGNORECASE
)
_SUFFIXES = (".txt", ".json", ".csv", ".tsv", ".names", ".lst")
_DIVIDERS = (",", ";", "\t", "|", ":", "=", None)  # None: spaces


def are_codes(classes: Collection[str]) -> bool:
    """Whether the classes are numbers or codes, for which a file may have names."""
    return all(_CODE.fullmatch(name) for name in classes)


def may_name_classes(path: str) -> bool:
    """Whether a file called so may have the names of classes."""
    plain = PurePosixPath(path)
    return plain.suffix.lower() in _SUFFIXES and bool(_FILE.search(plain.stem))


def read_class_names(
    source: str, path: str, classes: Collection[str], *, follow_links: bool = False
) -> dict[str, str]:
    """The name of each class by the file that `split.class_names` names in the source.

    Args:
        follow_links: as in `read_source`.

    Raises:
        PipelineError: the source has no such file, or it does not name all classes, each otherwise.
    """
    where = f"split.class_names = {path!r}"
    for entry in read_source(source, {path}, follow_links=follow_links):
        if entry.path == path and (content := entry.load().content) is not None:
            break
    else:
        raise PipelineError(f"{where}: no such file in {source!r}; correct it, or set it to null")
    names = names_of_classes(content, classes)
    if names is None:
        raise PipelineError(
            f"{where} does not name the classes {first_few(sorted(classes))}, each otherwise: "
            "expected are lines of a class and a name, a name for each class from 0 or 1 on, or "
            "JSON of these; correct it, or set it to null"
        )
    return names


def names_of_classes(content: bytes, classes: Collection[str]) -> dict[str, str] | None:
    """The name of each class by the content of a file; None where that does not name all of them,
    each otherwise."""
    if len(content) > MAX_BYTES:
        return None
    text = content.decode("utf-8-sig", "replace")
    for pairs in _readings(text, len(classes)):
        names = {_key(code): name.strip() for code, name in pairs}
        found = {each: names.get(_key(each), "") for each in classes}
        is_table = (
            len(names) < len(pairs)
            or any(map(IMAGE_NAME.search, found.values()))
            or not all(any(map(str.isalpha, name)) for name in found.values())
        )
        values = {*found.values()}
        if not is_table and all(values) and len(values) == len(found) and values != {*classes}:
            return found
    return None


def _readings(text: str, classes: int) -> Iterable[list[tuple[str, str]]]:
    """The pairs of code and name that a text may mean, one list for each way to read it; names
    alone, in their order, if there are as many as classes."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        lines = [line.strip() for line in lines_of(text) if line.strip()]
        yield from _of_lines(lines, classes)
        return
    if isinstance(content, list) and all(isinstance(each, str) for each in content):
        yield from _numbered(content, classes)
    elif isinstance(content, Mapping):
        yield from _of_mapping(content)


def _of_mapping(content: Mapping) -> Iterable[list[tuple[str, str]]]:
    items = [*content.items()]
    if all(isinstance(value, str | int) for _, value in items):
        yield [(key, str(value)) for key, value in items]
        yield [(str(value), key) for key, value in items]
    elif all(isinstance(value, list) and len(value) == 2 for _, value in items):  # ImageNet's
        yield [(key, str(value[1])) for key, value in items]
        yield [(str(value[0]), str(value[1])) for _, value in items]


def _of_lines(lines: list[str], classes: int) -> Iterable[list[tuple[str, str]]]:
    for divider in _DIVIDERS:
        if _is_wide_table(lines, divider):
            continue
        pairs = [line.split(divider, 1) for line in lines]
        if all(len(pair) == 2 for pair in pairs):
            yield [(code, name) for code, name in pairs]
        pairs = [line.rsplit(divider, 1) for line in lines]
        if all(len(pair) == 2 for pair in pairs):
            yield [(code, name) for name, code in pairs]
    words = [re.split(r"[\s,;|:=]+", line) for line in lines]
    if not all(_CODE.fullmatch(word[0]) or _CODE.fullmatch(word[-1]) for word in words):
        yield from _numbered(lines, classes)


def _is_wide_table(lines: list[str], divider: str | None) -> bool:
    """Whether all lines have the same number of cells, four or more: a table of something else."""
    cells = {line.count(divider) for line in lines} if divider else {0}
    return len(cells) == 1 and cells.pop() > 2


def _numbered(names: list[str], classes: int) -> Iterable[list[tuple[str, str]]]:
    for start in (0, 1) if len(names) == classes else ():
        yield [(str(number), name) for number, name in enumerate(names, start)]


def _key(code: str) -> str:
    """A code without zeros in front, quotes and spaces."""
    code = code.strip().strip("\"'")
    return (code.lstrip("0") or "0") if code.isdecimal() else code
