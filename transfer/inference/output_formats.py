"""Writes rows as a table for people, as CSV or as JSON lines, one row at a time. A `Columns` object
decides which columns there are."""

import csv
import json
import unicodedata
from collections.abc import Callable
from typing import Protocol, TextIO

from transfer.inference.predictions import PredictionRow

# formats by the suffix of the file
FORMATS = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".txt": "table"}
WIDTH = 120


class Columns(Protocol):
    """Decides what is written of a row.

    Attributes:
        names: names of the columns of CSV, and keys of JSON lines.
        header: the table's first line, behind the path.
        width: terminal columns that the header and each of `lines` take.
    """

    names: list[str]
    header: str
    width: int

    def values(self, row: PredictionRow) -> list[str | float | None]:
        """A row's values in the order of `names`; None for a missing value."""

    def lines(self, row: PredictionRow) -> list[str]:
        """The table's lines of a row with a prediction, without the path, which is in the first
        line only."""


def csv_writer(file: TextIO, columns: Columns) -> Callable[[PredictionRow], None]:
    """Write the header; the function that it returns writes a row."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns.names)
    return lambda row: writer.writerow(columns.values(row))


def jsonl_writer(file: TextIO, columns: Columns) -> Callable[[PredictionRow], None]:
    """The function that it returns writes a row as one line of JSON."""

    def write(row: PredictionRow) -> None:
        content = dict(zip(columns.names, columns.values(row), strict=True))
        file.write(json.dumps(content, ensure_ascii=False, allow_nan=False) + "\n")

    return write


def table_writer(file: TextIO, columns: Columns) -> Callable[[PredictionRow], None]:
    """Write the header; the function that it returns writes a row in columns of fixed widths, since
    later rows are not known. A line has at most WIDTH columns: long paths lose their beginning,
    other texts their end."""

    def write_line(path: str, rest: str) -> None:
        file.write(f"{fit(path, WIDTH - columns.width - 2, keep_end=True)}  {rest}".rstrip() + "\n")

    write_line("path", columns.header)

    def write(row: PredictionRow) -> None:
        first, *others = (
            [fit(row.problem, columns.width)] if row.prediction is None else columns.lines(row)
        )
        write_line(row.path, first)
        for line in others:
            write_line("", line)

    return write


def fit(text: str, width: int, *, keep_end: bool = False) -> str:
    """A text in `width` terminal columns, shortened with an ellipsis; control characters become
    escapes."""
    text = "".join(
        character if character.isprintable() else repr(character)[1:-1] for character in text
    )
    if columns_of(text) > width:
        kept = (text[::-1] if keep_end else text)[: 4 * width]
        while columns_of(kept) > width - 1:
            kept = kept[:-1]
        text = "…" + kept[::-1] if keep_end else kept + "…"
    return text + " " * (width - columns_of(text))


def columns_of(text: str) -> int:
    """Terminal columns that a text takes: two for wide characters, none for combining ones."""
    return sum(
        0 if unicodedata.combining(each) else 2 if unicodedata.east_asian_width(each) in "WF" else 1
        for each in text
    )


WRITERS = {"table": table_writer, "csv": csv_writer, "jsonl": jsonl_writer}
