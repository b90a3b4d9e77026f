"""Tables as columns of text: CSV of any delimiter and encoding, JSON, JSON lines and Parquet.

What the columns mean is found in transfer/sources/labels_by_table.py.
"""

import codecs
import csv
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from transfer.runtime.errors import PipelineError

SUFFIXES = (".csv", ".tsv", ".txt", ".jsonl", ".ndjson", ".json", ".parquet")
METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")  # Hugging Face's names
PATH_IN_METADATA = "file_name"
MAX_TABLE_BYTES = 2**30
MAX_CELL_CHARACTERS = 2**20
_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
_TRIED_ROWS = 50  # of which the delimiter is found
IMAGE_NAME = re.compile(
    r"\.(jpe?g|jfif|png|gif|bmp|webp|tiff?|avif|jp2|j2k|p[pgbn]m|tga|hei[cf]|ico|dcm|jxl)$",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Table:
    """A table's cells as text.

    columns: the cells of each column by its name, None where a row has none; all of equal length.
    lines: the line of the file, or the number of the record, that each row comes from.
    form: the format in words, such as `CSV with semicolons, latin-1`.
    """

    columns: dict[str, list[str | None]]
    lines: list[int]
    form: str


def read_table(path: Path) -> Table:
    """Read a table by the form of its content, whatever its suffix; or all of a folder's tables
    that are named as Hugging Face names them, `metadata.csv` and the like, as one.

    Raises:
        PipelineError: it is missing, cannot be read, is too large, or is no table of two columns.
    """
    if path.is_dir():
        return _read_folder(path)
    content = _read(path)
    if content.startswith(b"PAR1") or path.suffix.lower() == ".parquet":
        return _read_parquet(path)
    text, encoding = _decode(content, path)
    if text.lstrip()[:1] in ("{", "["):
        return _read_json(text, path)
    return _read_csv(text, encoding, path)


def _read_folder(folder: Path) -> Table:
    """The tables of a folder of splits, say: their paths from it, and the columns that all have."""
    found = sorted(path for name in METADATA for path in folder.rglob(name))
    if not found:
        raise PipelineError(
            f"{str(folder)!r} is a folder without a {', '.join(METADATA)}; name the table in it"
        )
    tables = [read_table(path) for path in found]
    for path, table in zip(found, tables, strict=True):
        if PATH_IN_METADATA not in table.columns:
            raise PipelineError(
                f"{str(path)!r} has no column {PATH_IN_METADATA!r}, as a metadata file of Hugging "
                "Face has; name the table itself"
            )
    prefixes = [path.parent.relative_to(folder) for path in found]
    columns: dict[str, list[str | None]] = {
        name: [cell for table in tables for cell in table.columns[name]]
        for name in tables[0].columns
        if all(name in table.columns for table in tables)
    }
    columns[PATH_IN_METADATA] = [
        cell and (prefix / cell).as_posix()
        for prefix, table in zip(prefixes, tables, strict=True)
        for cell in table.columns[PATH_IN_METADATA]
    ]
    lines = [line for table in tables for line in table.lines]
    return Table(columns, lines, f"{len(found)} tables, {tables[0].form}")


def _read(path: Path) -> bytes:
    try:
        if (size := path.stat().st_size) > MAX_TABLE_BYTES:
            raise PipelineError(
                f"{str(path)!r}: {size:,} bytes, more than the {MAX_TABLE_BYTES:,} that a table of "
                "labels may have"
            )
        return path.read_bytes()
    except FileNotFoundError:
        raise PipelineError(f"{str(path)!r}: no such table; give a path that exists") from None
    except OSError as error:
        raise PipelineError(f"{str(path)!r} cannot be read: {error.strerror}") from None


def _decode(content: bytes, path: Path) -> tuple[str, str]:
    """The text, and its encoding in words: by its mark, as UTF-8, or else as Windows wrote it."""
    marks = [
        (codecs.BOM_UTF8, "utf-8-sig", ""),
        (codecs.BOM_UTF16_LE, "utf-16", "UTF-16"),
        (codecs.BOM_UTF16_BE, "utf-16", "UTF-16"),
    ]
    tried = [(codec, name) for mark, codec, name in marks if content.startswith(mark)]
    start = content[:200]
    if not tried and start[1::2].count(0) > len(start) // 4:
        tried = [("utf-16-le", "UTF-16")]
    elif not tried and start[::2].count(0) > len(start) // 4:
        tried = [("utf-16-be", "UTF-16")]
    for codec, name in tried or [("utf-8", ""), ("cp1252", "latin-1"), ("latin-1", "latin-1")]:
        try:
            text = content.decode(codec)
        except UnicodeDecodeError:
            continue
        if "\0" in text:
            break
        return text, name
    raise PipelineError(
        f"{str(path)!r} is not text; give a CSV, TSV, JSON, JSON lines or Parquet file"
    )


def _read_csv(text: str, encoding: str, path: Path) -> Table:
    declared = re.match(r"sep=(.)\r?\n", text)  # Excel's line in front of the table
    body = text[declared.end() :] if declared else text
    if not body.strip():
        raise PipelineError(f"{str(path)!r} is empty; a table of labels has a row for each image")
    delimiter = declared[1] if declared else _find_delimiter(body, path)
    rows = _csv_rows(body, delimiter, path)
    words = f"CSV with {_DELIMITERS.get(delimiter, repr(delimiter))}" + (
        f", {encoding}" if encoding else ""
    )
    first = 1 if declared else 0
    numbered = [(line + first, row) for line, row in rows]
    if any(cell.startswith("gs://") for cell in rows[0][1]):
        return _vertex_table(numbered, words, path)
    header = [cell.strip() for cell in rows[0][1]]
    if any(IMAGE_NAME.search(cell) for cell in header):
        header = [f"column {number}" for number in range(1, len(header) + 1)]
        words += ", without a header"
    else:
        numbered = numbered[1:]
    while header and not header[-1]:
        header.pop()
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise PipelineError(f"{str(path)!r}: two columns are named {twice[0]!r}; rename one")
    if len(header) < 2:
        raise PipelineError(
            f"{str(path)!r}: only one column was found, {header[0] if header else ''!r}; a table "
            "of labels has a path and a label in each row"
        )
    return _of_rows(header, numbered, words, path)


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
    text: str, delimiter: str, path: Path | None, most: int | None = None
) -> list[tuple[int, list[str]]]:
    """Line and cells of each row that is not blank; `path` is None where errors end the rows."""
    csv.field_size_limit(MAX_CELL_CHARACTERS)
    reader = csv.reader(text.splitlines(keepends=True), delimiter=delimiter, strict=True)
    rows: list[tuple[int, list[str]]] = []
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                rows.append((reader.line_num, row))
            if most is not None and len(rows) == most:
                break
    except csv.Error as error:
        if path is not None:
            raise PipelineError(f"{str(path)!r}, line {reader.line_num}: {error}") from None
    return rows


def _find_delimiter(text: str, path: Path) -> str:
    """The delimiter by which the first rows have equally many cells, and the most of them."""
    sample = "".join(text.splitlines(keepends=True)[: 2 * _TRIED_ROWS])

    def score(delimiter: str) -> tuple[bool, int]:
        widths = [len(row) for _, row in _csv_rows(sample, delimiter, None, _TRIED_ROWS)]
        most = max(widths, default=0)
        return (most > 1 and min(widths) == most, most)

    best = max(_DELIMITERS, key=score)
    if score(best)[1] < 2:
        raise PipelineError(
            f"{str(path)!r}: no comma, semicolon or tab divides its lines; a table of labels has a "
            "path and a label in each row"
        )
    return best


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


def _read_json(text: str, path: Path) -> Table:
    try:
        content = json.loads(text)
        form = "JSON"
    except json.JSONDecodeError as error:
        whole = error
    except RecursionError:
        raise PipelineError(f"{str(path)!r}: JSON that is nested too deep") from None
    else:
        return _of_json(content, form, path)
    records, lines = [], []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            records.append(json.loads(line))
        except (json.JSONDecodeError, RecursionError) as error:
            problem = whole if number == 1 else error
            raise PipelineError(f"{str(path)!r}, line {number}: no JSON ({problem})") from None
        lines.append(number)
    return _of_records(records, lines, "JSON lines", path)


def _of_json(content: object, form: str, path: Path) -> Table:
    if isinstance(content, dict) and not any(isinstance(v, list | dict) for v in content.values()):
        if {*content} & {"file_name", "image_path", "path", "image"}:  # JSON lines of one line
            return _of_records([content], [1], "JSON lines", path)
        pairs = [{"path": name, "label": label} for name, label in content.items()]
        return _of_records(pairs, range(1, len(pairs) + 1), "JSON, label by path", path)
    if isinstance(content, dict):  # pandas writes columns, each by row number
        columns = [value for value in content.values() if isinstance(value, dict)]
        if len(columns) == len(content) >= 2 and len({tuple(column) for column in columns}) == 1:
            records = [{name: content[name][row] for name in content} for row in columns[0]]
            return _of_records(records, range(1, len(records) + 1), "JSON by column", path)
        raise PipelineError(
            f"{str(path)!r}: JSON with {', '.join(map(repr, [*content][:5]))}; a table of labels "
            "is a list of objects with a path and a label"
        )
    if not isinstance(content, list):
        raise PipelineError(f"{str(path)!r}: JSON, but no list of objects with path and label")
    numbers = range(1, len(content) + 1)
    if content and all(isinstance(task, dict) and "annotations" in task for task in content):
        return _label_studio_tasks(content, path)
    return _of_records(content, numbers, form, path)


def _label_studio_tasks(tasks: list[dict], path: Path) -> Table:
    """Label Studio's JSON export: the choices of every annotation of a task that was not
    cancelled, a row for each annotation."""
    records, numbers = [], []
    for number, task in enumerate(tasks, start=1):
        data = task.get("data")
        data = data if isinstance(data, dict) else {}
        image = data.get("image") or next(
            (value for value in data.values() if isinstance(value, str) and _is_image(value)), None
        )
        annotations = [
            each
            for each in task["annotations"] or []
            if isinstance(each, dict) and not each.get("was_cancelled")
        ]
        for each in annotations or [{}]:
            chosen = [
                choice
                for result in each.get("result") or []
                if isinstance(result, dict) and isinstance(result.get("value"), dict)
                for choice in result["value"].get("choices") or []
            ]
            records.append({"image": image, "choice": chosen or None})
            numbers.append(number)
    return _of_records(records, numbers, "Label Studio's JSON", path)


def _is_image(value: str) -> bool:
    return bool(IMAGE_NAME.search(value.split("?")[0])) or "?d=" in value


def _of_records(records: Iterable[object], lines: Iterable[int], form: str, path: Path) -> Table:
    records, lines = list(records), list(lines)
    for line, record in zip(lines, records, strict=True):
        if not isinstance(record, dict):
            raise PipelineError(
                f"{str(path)!r}, record {line}: {str(record)[:60]!r} instead of an object with a "
                "path and a label"
            )
    names = list(dict.fromkeys(name for record in records for name in record))
    if len(names) < 2:
        raise PipelineError(
            f"{str(path)!r}: no records with two values; a table of labels has a path and a label "
            "in each"
        )
    return Table(
        {name: [_cell(record.get(name)) for record in records] for name in names}, lines, form
    )


def _cell(value: object) -> str | None:
    """A value as text; several values as a JSON list."""
    if value is None or value != value:  # NaN, which pandas leaves where there is none
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict) and isinstance(value.get("path"), str):  # Hugging Face's images
        return value["path"]
    if isinstance(value, list) and len(value) == 1:
        return _cell(value[0])
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False, default=str) if value else None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip() or None


def _read_parquet(path: Path) -> Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with path.open("rb") as file:
            table = pq.read_table(file)
        # pixels in a table are no path, and decoding them as text would fail
        columns = {
            name: [_cell(_without_bytes(value)) for value in column.to_pylist()]
            for name, column in zip(table.column_names, table.columns, strict=True)
        }
        names = _class_names(table.schema.metadata or {})
    except (pa.ArrowException, OSError, ValueError, TypeError, NotImplementedError) as error:
        raise PipelineError(f"{str(path)!r}: a damaged Parquet file ({error})") from None
    for name, classes in names.items():
        columns[name] = [
            classes[int(cell)] if cell and cell.isdigit() and int(cell) < len(classes) else cell
            for cell in columns.get(name, [])
        ]
    if len(columns) < 2:
        raise PipelineError(
            f"{str(path)!r}: {len(columns)} columns; a table of labels has a path and a label"
        )
    return Table(columns, list(range(1, table.num_rows + 1)), "Parquet")


def _without_bytes(value: object) -> object:
    if isinstance(value, dict):
        return {name: part for name, part in value.items() if not isinstance(part, bytes)}
    return None if isinstance(value, bytes) else value


def _class_names(metadata: dict[bytes, bytes]) -> dict[str, list[str]]:
    """The names of the classes by column, where Hugging Face's datasets wrote numbers."""
    try:
        features = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
        return {
            name: [str(each) for each in feature["names"]]
            for name, feature in features.items()
            if isinstance(feature, dict) and isinstance(feature.get("names"), list)
        }
    except (ValueError, TypeError, KeyError, AttributeError):
        return {}
