"""Rows as a table for people, CSV or JSON lines, a row at a time; what stands in the columns is a
sheet's to say."""

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
    """columns: names of the columns of CSV, and the keys of JSON lines. header: the table's first
    line, behind the path. width: columns of a terminal that this and every one of `lines` take."""

    columns: list[str]
    header: str
    width: int

    def values(self, row: PredictionRow) -> list[str | float | None]:
        """A row's values in the order of `columns`; None where there are none."""

    def lines(self, row: PredictionRow) -> list[str]:
        """The table's lines of a row with a prediction, behind the path,
        which stands in the first alone."""


def csv_writer(file: TextIO, sheet: Columns) -> Callable[[PredictionRow], None]:
    """Write the header; the function that it returns writes a row."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(sheet.columns)
    return lambda row: writer.writerow(sheet.values(row))


def jsonl_writer(file: TextIO, sheet: Columns) -> Callable[[PredictionRow], None]:
    def write(row: PredictionRow) -> None:
        content = dict(zip(sheet.columns, sheet.values(row), strict=True))
        file.write(json.dumps(content, ensure_ascii=False, allow_nan=False) + "\n")

    return write


def table_writer(file: TextIO, sheet: Columns) -> Callable[[PredictionRow], None]:
    """Columns of fixed widths, WIDTH in all, since no later row is known: long paths lose their
    beginning, other texts their end."""

    def write_line(path: str, rest: str) -> None:
        file.write(f"{fit(path, WIDTH - sheet.width - 2, keep_end=True)}  {rest}".rstrip() + "\n")

    write_line("path", sheet.header)

    def write(row: PredictionRow) -> None:
        first, *others = (
            [fit(row.problem, sheet.width)] if row.prediction is None else sheet.lines(row)
        )
        write_line(row.path, first)
        for line in others:
            write_line("", line)

    return write


def fit(text: str, width: int, *, keep_end: bool = False) -> str:
    """A text in `width` columns of a terminal, shortened with an ellipsis; what no terminal should
    be sent comes as an escape."""
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
    """Columns that a terminal takes for it: two for wide characters,
    none for those that combine."""
    return sum(
        0 if unicodedata.combining(each) else 2 if unicodedata.east_asian_width(each) in "WF" else 1
        for each in text
    )


WRITERS = {"table": table_writer, "csv": csv_writer, "jsonl": jsonl_writer}
