"""Tables in CSV of any delimiter, lists of paths and labels, and import files of Vertex AI."""

import csv
import json
import re
from contextlib import suppress
from pathlib import Path

from transfer.labels.row_files import PATH_NAMES
from transfer.labels.table import Table, lines_of
from transfer.runtime.errors import PipelineError
from transfer.sources.source_file import IMAGE_NAME

MAX_CELL_CHARACTERS = 2**20
_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
_SINGLE_QUOTES = re.compile(r"\s*'(.*)'\s*", re.DOTALL)
_TRIED_ROWS = 50  # of which the delimiter is found
_PATH_AND_LABEL = re.compile(
    r"\s*(?P<path>.*?\.(?:jpe?g|jfif|png|gif|bmp|webp|tiff?|p[pgbn]m))"
    r"(?:\s*[:=]\s*|\s+)(?P<label>\S.*?)\s*",
    re.IGNORECASE,
)


def read_csv(text: str, encoding: str, path: Path) -> Table:
    """The table of a text: CSV of any delimiter, or a list of paths and labels with spaces between.

    Args:
        encoding: in words, for the table's form; empty for UTF-8.

    Raises:
        PipelineError: it is empty, has fewer than two columns, or rows of unequal length.
    """
    csv.field_size_limit(MAX_CELL_CHARACTERS)
    lines = lines_of(text)
    declared = re.match(r"sep=([^\"\r\n])\r?\n", text)  # Excel's line in front of the table
    skipped = 1 if declared else 0
    skipped += _count_comments(lines[skipped:])
    body = lines[skipped:]
    delimiter = declared[1] if declared else _find_delimiter(body)
    if delimiter is None and any(line.strip() for line in body):
        return _read_list(body, skipped, encoding, path)
    rows = _csv_rows(body, skipped, delimiter, path) if delimiter else []
    if not rows:
        raise PipelineError(f"{str(path)!r} is empty; a table of labels has a row for each image")
    words = f"CSV with {_DELIMITERS.get(delimiter, repr(delimiter))}" + (
        f", {encoding}" if encoding else ""
    )
    if all(_SINGLE_QUOTES.fullmatch(cell) for cell in rows[0][1]):
        rows = [(line, [_SINGLE_QUOTES.sub(r"\1", cell) for cell in row]) for line, row in rows]
    if any(cell.startswith("gs://") for cell in rows[0][1]):
        return _vertex_table(rows, words, path)
    header = [cell.strip() for cell in rows[0][1]]
    header[0] = header[0].removeprefix("#").strip()
    if any(IMAGE_NAME.search(cell) for cell in header) or _recurs(header, rows[1:]):
        header = [f"column {number}" for number in range(1, len(header) + 1)]
        words += ", without a header"
    else:
        rows = rows[1:]
    while header and not header[-1]:
        header.pop()
    header = [name or f"column {number}" for number, name in enumerate(header, 1)]
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise PipelineError(f"{str(path)!r}: two columns are named {twice[0]!r}; rename one")
    if len(header) < 2:
        raise PipelineError(
            f"{str(path)!r}: only one column was found, {header[0] if header else ''!r}; a table "
            "of labels has a path and a label in each row"
        )
    return _of_rows(header, rows, words, path)


def _recurs(header: list[str], rows: list[tuple[int, list[str]]]) -> bool:
    """Whether a cell of the first row occurs again below it, as a label does and no name of a
    column."""
    return any(
        cell and any(len(row) > place and row[place].strip() == cell for _, row in rows)
        for place, cell in enumerate(header)
    )


def _of_rows(header: list[str], rows: list[tuple[int, list[str]]], form: str, path: Path) -> Table:
    for line, row in rows:
        if len(row) < len(header) or any(cell.strip() for cell in row[len(header) :]):
            raise PipelineError(
                f"{str(path)!r}, line {line}: {len(row)} cells instead of {len(header)}; a cell "
                "that has the delimiter in it stands in quotes"
            )
    return Table(
        {name: [row[i].strip() or None for _, row in rows] for i, name in enumerate(header)},
        [line for line, _ in rows],
        form,
    )


def _csv_rows(
    lines: list[str], skipped: int, delimiter: str, path: Path
) -> list[tuple[int, list[str]]]:
    """Line and cells of each row that is not blank, behind so many lines that were skipped."""
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        return [(skipped + reader.line_num, row) for row in reader if _is_filled(row)]
    except csv.Error as error:
        line = skipped + reader.line_num
        raise PipelineError(f"{str(path)!r}, line {line}: {error}") from None


def _is_filled(row: list[str]) -> bool:
    return any(cell.strip() for cell in row)


def _count_comments(lines: list[str]) -> int:
    """How many lines in front are comments, which begin with `#`; the names of columns may too, in
    the last of them."""
    count = next((n for n, line in enumerate(lines) if not line.startswith("#")), len(lines))
    if count and count < len(lines):
        last, first = lines[count - 1], lines[count]
        if any(last.count(each) and last.count(each) == first.count(each) for each in _DELIMITERS):
            return count - 1
    return count


def _read_list(body: list[str], skipped: int, encoding: str, path: Path) -> Table:
    """Lines of a path, spaces, a colon or an equals sign, and a label, as ImageNet and Caffe have
    them; or words between spaces, equally many in each line."""
    lines = [(n, line.strip()) for n, line in enumerate(body, skipped + 1) if line.strip()]
    matches = [_PATH_AND_LABEL.fullmatch(line) for _, line in lines]
    note = f", {encoding}" if encoding else ""
    if all(matches):
        columns = {name: [match[name] for match in matches] for name in ("path", "label")}
        return Table(columns, [line for line, _ in lines], f"list of paths and labels{note}")
    rows = [line.split() for _, line in lines]
    if len({len(row) for row in rows}) > 1 and len({row[0] for row in rows}) == len(rows):
        pairs = [line.split(maxsplit=1) for _, line in lines]  # FGVC Aircraft's lists
        rows = pairs if all(len(pair) == 2 for pair in pairs) else rows
    if len(rows[0]) < 2 or len({len(row) for row in rows}) > 1:
        raise PipelineError(
            f"{str(path)!r}: no comma, semicolon or tab divides its lines; a table of labels has a "
            "path and a label in each row"
        )
    if {word.lower() for word in rows[0]} & {*PATH_NAMES} and len({*rows[0]}) == len(rows[0]):
        names, rows, lines = rows[0], rows[1:], lines[1:]
        columns = {name: [row[n] for row in rows] for n, name in enumerate(names)}
        return Table(columns, [line for line, _ in lines], f"words between spaces{note}")
    columns = {f"column {n}": list(cells) for n, cells in enumerate(zip(*rows, strict=True), 1)}
    return Table(columns, [line for line, _ in lines], f"words between spaces{note}")


def _find_delimiter(lines: list[str]) -> str | None:
    """The delimiter by which the first rows have equally many cells, and the most of them; None if
    none divides them."""

    def score(delimiter: str) -> tuple[bool, int]:
        widths = []
        with suppress(csv.Error):  # the rows before it count
            for row in csv.reader(lines[: 2 * _TRIED_ROWS], delimiter=delimiter, strict=True):
                if _is_filled(row):
                    widths.append(len(row))
        widths = widths[:_TRIED_ROWS]
        most = max(widths, default=0)
        return (most > 1 and min(widths) == most, most)

    best = max(_DELIMITERS, key=score)
    return best if score(best)[1] >= 2 else None


def _vertex_table(rows: list[tuple[int, list[str]]], form: str, path: Path) -> Table:
    """Vertex AI's import file has no header: `[ml_use,]gs://bucket/path,label`."""
    columns: dict[str, list[str | None]] = {"ml_use": [], "path": [], "label": []}
    for line, row in rows:
        cells = [cell.strip() for cell in row]
        use = [] if cells[0].startswith("gs://") else [cells.pop(0)]
        if not cells or not cells[0].startswith("gs://"):
            raise PipelineError(
                f"{str(path)!r}, line {line}: no address that begins with gs://, as the other rows "
                "of this import file of Vertex AI have"
            )
        labels = [cell for cell in cells[1:] if cell]
        columns["ml_use"].append(use[0] if use and use[0] else None)
        columns["path"].append(cells[0])
        columns["label"].append(json.dumps(labels) if len(labels) > 1 else "".join(labels) or None)
    return Table(columns, [line for line, _ in rows], f"Vertex AI's import file, {form}")
