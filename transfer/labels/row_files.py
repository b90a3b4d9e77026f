"""Which file of a source each row of a table of labels means: by its path, its end, or its name."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from transfer.labels.folder_words import is_called_masks, name_splits
from transfer.labels.listing import count_of, first_few
from transfer.labels.table import Table
from transfer.runtime.errors import PipelineError
from transfer.sources.source_file import IMAGE_NAME

# Names of the columns of paths and of labels, the surest ones first.
PATH_NAMES = (
    *("file_name", "filename", "image_path", "img_path", "path", "filepath", "file_path", "file"),
    *("image", "img", "image_name", "img_name", "image_file", "image_filename", "image_id", "id"),
)
LABEL_NAMES = (
    *("label_name", "class_name", "category_name", "label", "labels", "class", "classname"),
    *("category", "target", "choice", "tag", "tags", "species", "breed", "diagnosis", "dx", "y"),
    *("class_id", "classid", "category_id", "label_id", "true_label", "ground_truth", "gt"),
    "file_attributes",
)
_PREFIX = re.compile(r"^[0-9a-f]{8}-(?=.)")  # Label Studio puts it before an uploaded file's name
_ZEROS = re.compile(r"(?<!\d)0+(?=\d)")
_DRIVE = re.compile(r"^[A-Za-z]:/")


class Ambiguous(NamedTuple):
    """The files that a row may mean, two or more."""

    files: list[str]


class FileIndex:
    """The files of a source by their paths, by the ends of these, and by these without suffixes;
    in one Unicode form, and in one case if asked."""

    def __init__(self, images: Sequence[str], others: Sequence[str]):
        self._images, self._others = images, others
        self._built: dict[tuple[str, bool], dict[str, str | Ambiguous]] = {}

    def find(self, keys: Iterable[tuple[str, str]], folded: bool) -> str | Ambiguous | None:
        """The file of the first of these keys that one has. A key is a kind and a name: a `path`,
        the `end` of one, an end without suffix (`stem`), or a name without suffix and leading
        zeros (`number`)."""
        for kind, name in keys:
            if (kind, folded) not in self._built:
                # an image goes before what lies beside it under the same name
                images, others = (
                    _index(files, kind, folded) for files in (self._images, self._others)
                )
                self._built[kind, folded] = others | images
            if found := self._built[kind, folded].get(_one_form(name, folded)):
                return found
        return None


def _index(files: Sequence[str], kind: str, folded: bool) -> dict[str, str | Ambiguous]:
    found: dict[str, str | Ambiguous] = {}
    for file in files:
        for name in _names_of(file, kind):
            key = _one_form(name, folded)
            known = found.setdefault(key, file)
            if isinstance(known, Ambiguous):
                known.files.append(file)
            elif known != file:
                found[key] = Ambiguous([known, file])
    return found


def _names_of(file: str, kind: str) -> list[str]:
    if kind == "path":
        return [file]
    if kind == "number":
        return [_without_zeros(PurePosixPath(file).stem)]
    return _ends(file if kind == "end" else str(PurePosixPath(file).with_suffix("")))


def _ends(path: str) -> list[str]:
    """The path, and what is left of it without its first folders, the longest first."""
    parts = path.split("/")
    return ["/".join(parts[start:]) for start in range(len(parts))]


def _last(path: str) -> str:
    return path.rpartition("/")[2]


def _without_zeros(name: str) -> str:
    return _ZEROS.sub("", name)


def _one_form(text: str, folded: bool) -> str:
    text = unicodedata.normalize("NFC", text)
    return unicodedata.normalize("NFC", text.casefold()) if folded else text


# The keys of `FileIndex.find` for a row's path and the table's folder in the source, the stricter
# rules first.
_RULES: dict[str, Callable[[str, str], list[tuple[str, str]]]] = {
    "by their paths in the source": lambda name, folder: [("path", name)],
    "by their paths from the table's folder": lambda name, folder: (
        [("path", f"{folder}/{name}")] if folder else []
    ),
    "by the ends of their paths": lambda name, folder: [
        *(("path", end) for end in _ends(name)),
        ("end", name),
    ],
    "by their paths without suffixes": lambda name, folder: [("stem", IMAGE_NAME.sub("", name))],
    "by their names, whatever their folders": lambda name, folder: [("end", _last(name))],
    "by their names without Label Studio's prefixes": lambda name, folder: [
        ("end", _PREFIX.sub("", _last(name)))
    ],
    "by their names, %20 and the like being read": lambda name, folder: [
        ("end", _last(unquote(name)))
    ],
    "by their names without leading zeros": lambda name, folder: [
        ("number", _without_zeros(IMAGE_NAME.sub("", _last(name)).removesuffix(".0")))
    ],
}


class _Match(NamedTuple):
    """What a rule finds by a column: for each row its path and the file, None without one. how: the
    rule in words."""

    column: str
    names: list[str | None]
    files: list[str | Ambiguous | None]
    how: str

    @property
    def hits(self) -> int:
        return sum(bool(file) for file in self.files)


def match_files(
    table: Table,
    given: str | None,
    files: FileIndex,
    folder: str,
    where: str,
    splits: Sequence[str | None],
) -> tuple[str, list[str | None], str]:
    """The path column, the file of each row, None without one, and the rule that found them.

    One rule serves all rows: the one that finds most files, the strictest of equal ones. Of several
    files that a row may mean, the one counts that lies in a folder named after the row's split.

    Args:
        table: with a row for each image. given: the path column, or None if it is to be found.
        folder: of the table in the source. splits: of each row, None where it is unknown.

    Raises:
        PipelineError: the column is not there, no row names a file, or one may mean several.
    """
    if given is not None:
        check_column(table, given, "path", where)
    candidates = [given] if given else _path_candidates(table)
    best = _best_match(table, candidates, files, folder)
    if not best.hits:
        example = next(filter(None, table.columns[candidates[0]]), None)
        raise PipelineError(
            f"{where}: no row names a file of the source, by its path, name, or name without "
            f"suffix; the first in column {candidates[0]!r} is {example!r}; is it the right column "
            "(split.columns.path), and the right source?"
        )
    found = [
        _meant_one(file, split, name) if isinstance(file, Ambiguous) else file
        for file, split, name in zip(best.files, splits, best.names, strict=True)
    ]
    if unclear := [
        f"{table.columns[best.column][row]!r} (line {table.lines[row]}) is {file.files[0]!r} or "
        f"{file.files[1]!r}"
        for row, file in enumerate(found)
        if isinstance(file, Ambiguous)
    ]:
        raise PipelineError(
            f"{where}: {count_of(len(unclear), 'row')} may mean two files: "
            f"{first_few(unclear, separator='; ')}; give their paths in the source"
        )
    return best.column, found, best.how


def _best_match(table: Table, candidates: Sequence[str], files: FileIndex, folder: str) -> _Match:
    """The first match that finds a file for each path, or else the one that finds most."""
    best = None
    for match in _matches(table, candidates, files, folder):
        if best is None or match.hits > best.hits:
            best = match
        if 0 < match.hits == sum(name is not None for name in match.names):
            break
    return best


def _matches(
    table: Table, candidates: Sequence[str], files: FileIndex, folder: str
) -> Iterator[_Match]:
    for column in candidates:
        names = [_as_path(cell) if cell else None for cell in table.columns[column]]
        for folded in (False, True):
            for how, keys_of in _RULES.items():
                found = [name and files.find(keys_of(name, folder), folded) for name in names]
                words = ", upper and lower case being equal" if folded else ""
                yield _Match(column, names, found, how + words)


def _meant_one(files: Ambiguous, split: str | None, name: str) -> str | Ambiguous:
    """The only one of the files that lies below the folder of the row's name, in no folder of
    masks, or in a folder of that split; all, where it is not one."""
    folder, _, _ = name.rpartition("/")
    below = [file for file in files.files if folder and file.startswith(f"{folder}/")]
    if len(below) == 1:
        return below[0]
    pictures = [file for file in files.files if not any(map(is_called_masks, file.split("/")[:-1]))]
    if len(pictures) == 1:
        return pictures[0]
    folders = {file: file.split("/")[:-1] for file in files.files}
    splits = name_splits({folder for own in folders.values() for folder in own})
    own = [file for file, parts in folders.items() if split in map(splits.get, parts)]
    return own[0] if split and len(own) == 1 else files


def _path_candidates(table: Table) -> list[str]:
    """Columns that may hold paths: those with a usual name in the order of these, and then those
    whose cells look like image files; else all."""
    named = named_columns(table, PATH_NAMES)
    alike = [
        name
        for name, cells in table.columns.items()
        if name not in named
        and (full := [cell for cell in cells[:100] if cell])
        and sum(bool(IMAGE_NAME.search(cell.split("?")[0])) for cell in full) > len(full) / 2
    ]
    return [*named, *alike] or [*table.columns]


def named_columns(table: Table, names: Sequence[str]) -> list[str]:
    """The table's columns that have one of the names, in the order of the names."""
    plain = {column: re.sub(r"[\s.-]+", "_", column.strip()).lower() for column in table.columns}
    return [column for name in names for column in table.columns if plain[column] == name]


def _as_path(cell: str) -> str:
    """A cell as a path: that of a URL without its host, with forward slashes, from no root."""
    text = cell.replace("\\", "/")
    if "://" in text or text.startswith("/data/"):  # an address, or Label Studio's own
        address = urlsplit(text)
        text = parse_qs(address.query).get("d", [None])[0] or unquote(address.path)
    text = _DRIVE.sub("", text)
    parts = [part for part in text.split("/") if part not in ("", ".")]
    return "/".join(parts)


def folder_in_source(table: Path, source: str) -> str:
    """The table's folder, or the folder of tables, as a path in the source; empty if it is not
    below it."""
    try:
        folder = table.resolve() if table.is_dir() else table.resolve().parent
        inside = folder.relative_to(Path(source).resolve())
    except (ValueError, OSError):
        return ""
    return "" if inside == Path() else inside.as_posix()


def check_column(table: Table, name: str, kind: str, where: str) -> None:
    """See that the table has the column that `split.columns` names.

    Raises:
        PipelineError: it has not.
    """
    if name not in table.columns:
        raise PipelineError(
            f"split.columns.{kind} = {name!r}, but the columns of {where} are "
            f"{', '.join(map(repr, table.columns))}"
        )
