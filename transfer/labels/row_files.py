"""Which file of a source each row of a table of labels means: by its path, its end, or its name."""

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from transfer.labels.folder_words import is_called_masks, name_splits
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
_SHOWN = 3  # rows, files or labels that a message names
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

    def find(self, kind: str, name: str, folded: bool) -> str | Ambiguous | None:
        """The file of this `path`, `end` of a path, end without suffix (`stem`), or name of one
        without suffix and leading zeros (`number`)."""
        if (kind, folded) not in self._built:
            self._built[kind, folded] = self._build(kind, folded)
        return self._built[kind, folded].get(_one_form(name, folded))

    def _build(self, kind: str, folded: bool) -> dict[str, str | Ambiguous]:
        found = self._add({}, self._images, kind, folded)
        # an image goes before what lies beside it under the same name
        return self._add({}, self._others, kind, folded) | found

    @staticmethod
    def _add(
        found: dict[str, str | Ambiguous], files: Sequence[str], kind: str, folded: bool
    ) -> dict[str, str | Ambiguous]:
        for file in files:
            for name in _names_of(file, kind):
                key = _one_form(name, folded)
                known = found.setdefault(key, file)
                if isinstance(known, Ambiguous):
                    known.files.append(file)
                elif known != file:
                    found[key] = Ambiguous([known, file])
        return found


def _names_of(file: str, kind: str) -> Iterator[str]:
    if kind == "path":
        yield file
        return
    if kind == "number":
        yield _without_zeros(PurePosixPath(file).stem)
        return
    text = file if kind == "end" else str(PurePosixPath(file).with_suffix(""))
    parts = text.split("/")
    yield from ("/".join(parts[start:]) for start in range(len(parts)))


def _without_zeros(name: str) -> str:
    return _ZEROS.sub("", name)


def _one_form(text: str, folded: bool) -> str:
    text = unicodedata.normalize("NFC", text)
    return unicodedata.normalize("NFC", text.casefold()) if folded else text


# What a row finds in the files, given its cell as a path and the table's folder in the source.
Rule = Callable[[FileIndex, str, str, bool], str | Ambiguous | None]


def _by_path(files: FileIndex, name: str, folder: str, folded: bool):
    return files.find("path", name, folded)


def _by_folder(files: FileIndex, name: str, folder: str, folded: bool):
    return files.find("path", str(PurePosixPath(folder, name)), folded) if folder else None


def _by_end(files: FileIndex, name: str, folder: str, folded: bool):
    """The file whose whole path is the end of the row's, or whose path ends in the row's."""
    parts = name.split("/")
    for start in range(len(parts)):
        if found := files.find("path", "/".join(parts[start:]), folded):
            return found
    return files.find("end", name, folded)


def _by_stem(files: FileIndex, name: str, folder: str, folded: bool):
    return files.find("stem", IMAGE_NAME.sub("", name), folded)


def _by_name(files: FileIndex, name: str, folder: str, folded: bool):
    return files.find("end", name.split("/")[-1], folded)


def _by_number(files: FileIndex, name: str, folder: str, folded: bool):
    plain = IMAGE_NAME.sub("", name.split("/")[-1]).removesuffix(".0")
    return files.find("number", _without_zeros(plain), folded)


def _by_unquoted_name(files: FileIndex, name: str, folder: str, folded: bool):
    return files.find("end", unquote(name).split("/")[-1], folded)


def _by_uploaded_name(files: FileIndex, name: str, folder: str, folded: bool):
    return files.find("end", _PREFIX.sub("", name.split("/")[-1]), folded)


_RULES: dict[str, Rule] = {  # the stricter ones first
    "by their paths in the source": _by_path,
    "by their paths from the table's folder": _by_folder,
    "by the ends of their paths": _by_end,
    "by their paths without suffixes": _by_stem,
    "by their names, whatever their folders": _by_name,
    "by their names without Label Studio's prefixes": _by_uploaded_name,
    "by their names, %20 and the like being read": _by_unquoted_name,
    "by their names without leading zeros": _by_number,
}


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
    best: tuple[int, str, list[str | Ambiguous | None], str] | None = None
    for column in candidates:
        names = [_as_path(cell) if cell else None for cell in table.columns[column]]
        wanted = sum(name is not None for name in names)
        for folded in (False, True):
            for how, rule in _RULES.items():
                found = [name and rule(files, name, folder, folded) for name in names]
                hits = sum(bool(each) for each in found)
                if best is None or hits > best[0]:
                    words = how + (", upper and lower case being equal" if folded else "")
                    best = (hits, column, found, words)
                if hits == wanted:
                    break
            if best[0] >= wanted:
                break
        if wanted and best[0] >= wanted:
            break
    if best is None or best[0] == 0:
        column = candidates[0] if candidates else next(iter(table.columns))
        example = next((cell for cell in table.columns[column] if cell), None)
        raise PipelineError(
            f"{where}: no row names a file of the source, by its path, name, or name without "
            f"suffix; the first in column {column!r} is {example!r}; is it the right column "
            "(split.columns.path), and the right source?"
        )
    _, column, found, how = best
    found = [
        _meant_one(each, split, _as_path(cell or "")) if isinstance(each, Ambiguous) else each
        for each, split, cell in zip(found, splits, table.columns[column], strict=True)
    ]
    if unclear := [
        f"{table.columns[column][number]!r} (line {table.lines[number]}) is {each.files[0]!r} or "
        f"{each.files[1]!r}"
        for number, each in enumerate(found)
        if isinstance(each, Ambiguous)
    ]:
        raise PipelineError(
            f"{where}: {count_rows(len(unclear))} may mean two files: {first_few(unclear, '; ')}; "
            "give their paths in the source"
        )
    return column, found, how


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


def first_few(items: Sequence[str], separator: str = ", ") -> str:
    """The first items, and how many more there are."""
    rest = f"{separator}... and {len(items) - _SHOWN:,} more" if len(items) > _SHOWN else ""
    return separator.join(items[:_SHOWN]) + rest


def count_rows(n: int) -> str:
    """A number of rows in words."""
    return "1 row" if n == 1 else f"{n:,} rows"
