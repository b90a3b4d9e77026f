"""Tables as columns of text: CSV of any delimiter and encoding, JSON, JSON lines and Parquet.

What the columns mean is found in transfer/sources/labels_by_table.py.
"""

import codecs
import json
from pathlib import Path

from transfer.runtime.errors import PipelineError
from transfer.sources.csv_tables import read_csv
from transfer.sources.folder_words import name_splits
from transfer.sources.json_tables import read_json
from transfer.sources.name_encodings import encoding_of_text, is_utf8
from transfer.sources.table import Table, cell_of

SUFFIXES = (
    *(".csv", ".tsv", ".tab", ".txt", ".jsonl", ".ndjson", ".json", ".parquet", ".lst"),
    ".manifest",
)
# Names of tables in the folders of images, of Hugging Face and Roboflow.
METADATA = (
    *("metadata.csv", "metadata.jsonl", "metadata.parquet", "_classes.csv", "_annotations.csv"),
)
_PATHS_IN_METADATA = ("file_name", "filename")
_WORKBOOKS = ((b"PK\3\4", "Excel or LibreOffice"), (b"\xd0\xcf\x11\xe0", "Excel"))
MAX_TABLE_BYTES = 2**30


def read_table(path: Path) -> Table:
    """Read a table by the form of its content, whatever its suffix; or a folder's tables as one:
    all that are named as Hugging Face and Roboflow name them, `metadata.csv` and the like, or those
    named after splits, `train.csv` and `test.csv` say.

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
        return read_json(text, path)
    return read_csv(text, encoding, path)


def _read_folder(folder: Path) -> Table:
    """The tables of a folder of splits, say: their paths from it, and the columns that all have."""
    found = sorted(path for name in METADATA for path in folder.rglob(name))
    if not found:
        return _read_splits(folder)
    tables = [read_table(path) for path in found]
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


def tables_of_splits(folder: Path) -> dict[Path, str]:
    """The tables in a folder that are named after splits, train among two or more: the split of
    each."""
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    splits = name_splits([path.stem for path in found])
    tables = {path: splits[path.stem] for path in found if path.stem in splits}
    kinds = [*tables.values()]
    return tables if "train" in kinds and len({*kinds}) == len(kinds) > 1 else {}


def _read_splits(folder: Path) -> Table:
    """The tables of a folder that are named after splits as one, with the column `split`; those
    that lack columns of train's have no labels, and are passed over."""
    splits = tables_of_splits(folder)
    if not splits:
        raise PipelineError(
            f"{str(folder)!r} is a folder without a {', '.join(METADATA)} and without tables named "
            "after splits, train.csv and test.csv say; name the table in it"
        )
    train = next(path for path, split in splits.items() if split == "train")
    names = read_table(train).columns
    tables, without = {}, []
    for path in splits:
        try:
            tables[path] = read_table(path)
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
    """The text, and its encoding in words: by its mark, as UTF-8, or else in the code page that
    fits it."""
    for signature, program in _WORKBOOKS:
        if content.startswith(signature):
            raise PipelineError(
                f"{str(path)!r} is a workbook of {program}, or an archive; save its sheet as CSV"
            )
    marks = [
        (codecs.BOM_UTF32_LE, "utf-32", "UTF-32"),
        (codecs.BOM_UTF32_BE, "utf-32", "UTF-32"),
        (codecs.BOM_UTF8, "utf-8-sig", ""),
        (codecs.BOM_UTF16_LE, "utf-16", "UTF-16"),
        (codecs.BOM_UTF16_BE, "utf-16", "UTF-16"),
    ]
    tried = [(codec, name) for mark, codec, name in marks if content.startswith(mark)][:1]
    start = content[:200]
    if not tried and start[1::2].count(0) > len(start) // 4:
        tried = [("utf-16-le", "UTF-16")]
    elif not tried and start[::2].count(0) > len(start) // 4:
        tried = [("utf-16-be", "UTF-16")]
    if not tried and is_utf8(content):
        tried = [("utf-8", "")]
    elif not tried and (guess := encoding_of_text(content)) not in (None, "cp1252"):
        tried = [(guess, f"{guess} (guessed)")]
    for codec, name in tried or [("cp1252", "latin-1"), ("latin-1", "latin-1")]:
        try:
            text = content.decode(codec)
        except UnicodeDecodeError:
            continue
        if "\0" in text:
            break
        return text.replace("\ufeff", ""), name
    raise PipelineError(
        f"{str(path)!r} is not text; give a CSV, TSV, JSON, JSON lines or Parquet file"
    )


def _read_parquet(path: Path) -> Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with path.open("rb") as file:
            table = pq.read_table(file)
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
