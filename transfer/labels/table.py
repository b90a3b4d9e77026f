"""A table's cells as text, in whatever form its file is."""

import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from transfer.runtime.errors import PipelineError


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


def lines_of(text: str) -> list[str]:
    """The lines of a text with their ends. Only carriage returns and line feeds end one;
    `str.splitlines` also divides at characters that stand in cells, such as U+2028."""
    return list(io.StringIO(text, newline=""))


def table_of_records(
    records: Iterable[object], form: str, path: Path, lines: Iterable[int] | None = None
) -> Table:
    """A table of objects: a column for each name that one of them has.

    Args:
        lines: of each record; by default they are numbered from 1.

    Raises:
        PipelineError: one is no object, or there are fewer than two names.
    """
    records = list(records)
    lines = list(range(1, len(records) + 1) if lines is None else lines)
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
        {name: [cell_of(record.get(name)) for record in records] for name in names}, lines, form
    )


def cell_of(value: object) -> str | None:
    """A value as text; several values as a JSON list."""
    if value is None or value != value:  # NaN, which pandas leaves where there is none
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict) and isinstance(value.get("path"), str):  # Hugging Face's images
        return value["path"]
    if isinstance(value, list) and len(value) == 1:
        return cell_of(value[0])
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False, default=str) if value else None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip() or None
