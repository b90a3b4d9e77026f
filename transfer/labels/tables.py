"""Tables as columns of text: CSV of any delimiter and encoding, JSON, JSON lines, Parquet, and
CVAT's XML.

What the columns mean is found in transfer/labels/labels_by_table.py.
"""

import codecs
import gzip
import io
import json
import re
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from transfer.decoding.file_kinds import describe_unreadable
from transfer.labels.csv_tables import read_csv
from transfer.labels.json_tables import read_json
from transfer.labels.table import Table, cell_of
from transfer.labels.xml_tables import read_cvat
from transfer.runtime.errors import PipelineError
from transfer.sources.name_encodings import encoding_of_text, is_utf8

_PACKED = (".csv.gz", ".tsv.gz", ".json.gz", ".jsonl.gz")  # as pandas writes them
SUFFIXES = (
    *_PACKED,
    *(".csv", ".tsv", ".tab", ".txt", ".jsonl", ".ndjson", ".json", ".parquet", ".lst"),
    *(".manifest", ".xml"),
)
_WORKBOOKS = ((b"PK\3\4", "Excel or LibreOffice"), (b"\xd0\xcf\x11\xe0", "Excel"))
MAX_TABLE_BYTES = 2**30
_HEAD_BYTES = 2**16
_PICKLES = {bytes([0x80, protocol]) for protocol in range(2, 6)}
_POINTER = b"git-lfs.github.com"
_MARKS = (  # of the longest first: that of UTF-16 is the beginning of that of UTF-32
    (codecs.BOM_UTF32_LE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF32_BE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF8, "utf-8-sig", ""),
    (codecs.BOM_UTF16_LE, "utf-16", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16", "UTF-16"),
)
_WEB_PAGE = re.compile(rb"\s*<(!doctype html|html|table)\b", re.IGNORECASE)


def read_table(path: Path, packed: Mapping[Path, bytes] | None = None) -> Table:
    """Read a table by the form of its content, whatever its suffix; or a folder's tables as one
    (transfer/labels/table_folders.py).

    Args:
        packed: the tables of an archive, by their paths as if the archive were a folder; None where
            tables are files.

    Raises:
        PipelineError: it is missing, cannot be read, is too large, or is no table of two columns.
    """
    content = read_content(path, packed)
    if content.startswith(b"PAR1") or path.suffix.lower() == ".parquet":
        return _read_parquet(content, path)
    text, encoding = _decode(content, path)
    if text.lstrip()[:1] in ("{", "["):
        return read_json(text, path)
    if text.lstrip().startswith(("<?xml", "<annotation")):
        return read_cvat(text, path)
    return read_csv(text, encoding, path)


def read_content(path: Path, packed: Mapping[Path, bytes] | None = None) -> bytes:
    """The bytes of a table or a list.

    Args:
        packed: as in `read_table`.

    Raises:
        PipelineError: it is missing, cannot be read, or is too large.
    """
    content = packed[path] if packed and path in packed else _read(path)
    return _unpacked(content, path) if content.startswith(b"\x1f\x8b") else content


def _unpacked(content: bytes, path: Path) -> bytes:
    """The content of a gzip file."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            text = file.read(MAX_TABLE_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise PipelineError(f"{str(path)!r}: a damaged gzip file ({error})") from None
    if len(text) > MAX_TABLE_BYTES:
        raise PipelineError(
            f"{str(path)!r}: unpacked it has more than the {MAX_TABLE_BYTES:,} bytes that a table "
            "of labels may have"
        )
    return text


def _read(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():
            raise PipelineError(f"{str(path)!r} is a pipe or a device, and no table")
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
    """The text, and its encoding in words, empty for UTF-8.

    Raises:
        PipelineError: it is no text, or a file of another kind in place of a table.
    """
    _check_is_text(content, path)
    for codec, name in _encodings_of(content):
        with suppress(UnicodeDecodeError):
            text = content.decode(codec)
            if "\0" in text:
                break
            return text.replace("\ufeff", ""), name
    raise PipelineError(
        f"{str(path)!r} is not text; give a CSV, TSV, JSON, JSON lines or Parquet file"
    )


def _check_is_text(content: bytes, path: Path) -> None:
    for signature, program in _WORKBOOKS:
        if content.startswith(signature):
            raise PipelineError(
                f"{str(path)!r} is a workbook of {program}, or an archive; save its sheet as CSV, "
                "or unpack it"
            )
    kind = None
    if content[:2] in _PICKLES:
        kind = "Python's pickle, which may run programs and is not read; save it as CSV"
    elif _WEB_PAGE.match(content) or _POINTER in content[:99]:
        kind = describe_unreadable(content[:_HEAD_BYTES])
    if kind:
        kind = re.sub(", not (an|the) image", "", kind)
        sheet = "; a sheet that was saved as one is to be saved as CSV" * ("web page" in kind)
        raise PipelineError(f"{str(path)!r} is no table, but {kind}{sheet}")


def _encodings_of(content: bytes) -> list[tuple[str, str]]:
    """The encodings to try, each with its name in words: by the mark of the text, as UTF-8, or in
    the code page that fits it."""
    for mark, codec, name in _MARKS:
        if content.startswith(mark):
            return [(codec, name)]
    start = content[:200]
    if start[1::2].count(0) > len(start) // 4:
        return [("utf-16-le", "UTF-16")]
    if start[::2].count(0) > len(start) // 4:
        return [("utf-16-be", "UTF-16")]
    if is_utf8(content):
        return [("utf-8", "")]
    guess = encoding_of_text(content)
    if guess not in (None, "cp1252"):
        return [(guess, f"{guess} (guessed)")]
    return [("cp1252", "latin-1"), ("latin-1", "latin-1")]


def _read_parquet(content: bytes, path: Path) -> Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(io.BytesIO(content))
        # pixels in a table are no path, and decoding them as text would fail
        columns = {
            name: [cell_of(_without_bytes(value)) for value in column.to_pylist()]
            for name, column in zip(table.column_names, table.columns, strict=True)
        }
        names = _class_names(table.schema.metadata or {})
    except (pa.ArrowException, OSError, ValueError, TypeError, NotImplementedError) as error:
        raise PipelineError(f"{str(path)!r}: a damaged Parquet file ({error})") from None
    for name, classes in names.items():
        columns[name] = [
            classes[int(cell)] if cell and cell.isdecimal() and int(cell) < len(classes) else cell
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
