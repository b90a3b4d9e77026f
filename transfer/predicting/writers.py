"""Predictions as a table for people, CSV or JSON lines, a row at a time."""

import csv
import json
import unicodedata
from collections.abc import Callable
from typing import TextIO

import numpy as np

from transfer.predicting.rows import Row

FORMATS = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".txt": "table"}  # by the suffix of the file
UNLIKE = 99.0  # percentile of the validation images beyond which the table marks an image
WIDTH = 120
_CLASS, _OTHERS = 20, 32  # the most columns of a terminal that these may take
_NUMBERS = "  {:>11}  {:>8}  {:>7} {:1}"


def columns(top_k: int) -> list[str]:
    """Names of the columns of CSV, and the keys of JSON lines."""
    others = [f"{name}_{rank}" for rank in range(2, top_k + 1) for name in ("class", "probability")]
    return ["path", "predicted", "probability", *others, "unlike", "distance", "error"]


def values(row: Row, class_names: list[str], top_k: int) -> list[str | float | None]:
    """A row's values in the order of `columns`, rounded as `evaluate` rounds; None where there are none."""
    if row.prediction is None:
        return [row.path, *[None] * (2 * top_k + 2), row.problem]
    ranked = ranking(row.prediction.probabilities)[:top_k]
    chances = [each for label in ranked for each in (class_names[label], round(float(row.prediction.probabilities[label]), 6))]
    percentile, distance = row.prediction.percentile, row.prediction.distance
    novelty = [None, None] if distance is None else [round(percentile, 2), round(distance, 6)]
    return [row.path, *chances, *novelty, None]


def ranking(probabilities: np.ndarray) -> list[int]:
    """Labels, the likeliest first; of equal ones the first, as argmax has it."""
    return np.argsort(-probabilities, kind="stable").tolist()


def csv_writer(file: TextIO, class_names: list[str], top_k: int) -> Callable[[Row], None]:
    """Write the header; the function that it returns writes a row."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns(top_k))
    return lambda row: writer.writerow(values(row, class_names, top_k))


def jsonl_writer(file: TextIO, class_names: list[str], top_k: int) -> Callable[[Row], None]:
    names = columns(top_k)

    def write(row: Row) -> None:
        content = dict(zip(names, values(row, class_names, top_k), strict=True))
        file.write(json.dumps(content, ensure_ascii=False, allow_nan=False) + "\n")

    return write


def table_writer(file: TextIO, class_names: list[str], top_k: int) -> Callable[[Row], None]:
    """Columns of fixed widths, WIDTH in all, since no later row is known: long paths lose their beginning, other texts their end."""
    class_width = min(max(len("predicted"), *map(columns_of, class_names)), _CLASS)
    others_width = _OTHERS if top_k > 1 else 0
    rest = class_width + len(_NUMBERS.format("", "", "", "")) + (others_width and others_width + 2)
    path_width = WIDTH - rest - 2

    def write_line(path: str, predicted: str, others: str, *numbers: str) -> None:
        cells = [fit(path, path_width, keep_end=True), fit(predicted, class_width)] + ([fit(others, others_width)] if others_width else [])
        file.write(("  ".join(cells) + _NUMBERS.format(*numbers)).rstrip() + "\n")

    def write(row: Row) -> None:
        if row.prediction is None:
            file.write(f"{fit(row.path, path_width, keep_end=True)}  {fit(row.problem, rest).rstrip()}\n")
            return
        _, predicted, probability, *others, percentile, distance, _ = values(row, class_names, top_k)
        pairs = zip(others[::2], others[1::2], strict=True)
        numbers = [f"{probability:.3f}"] + (["", "", ""] if distance is None else _novelty(percentile, distance))
        write_line(row.path, predicted, ", ".join(f"{name} {chance:.3f}" for name, chance in pairs), *numbers)

    write_line("path", "predicted", "then", "probability", "distance", "unlike", "")
    return write


def _novelty(percentile: float, distance: float) -> list[str]:
    return [f"{distance:.3f}", f"{percentile:.1f}", "!" if percentile > UNLIKE else ""]


def fit(text: str, width: int, *, keep_end: bool = False) -> str:
    """A text in `width` columns of a terminal, shortened with an ellipsis; what no terminal should be sent comes as an escape."""
    text = "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)
    if columns_of(text) > width:
        kept = (text[::-1] if keep_end else text)[: 4 * width]
        while columns_of(kept) > width - 1:
            kept = kept[:-1]
        text = "…" + kept[::-1] if keep_end else kept + "…"
    return text + " " * (width - columns_of(text))


def columns_of(text: str) -> int:
    """Columns that a terminal takes for it: two for wide characters, none for those that combine."""
    return sum(0 if unicodedata.combining(each) else 2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in text)


WRITERS = {"table": table_writer, "csv": csv_writer, "jsonl": jsonl_writer}
