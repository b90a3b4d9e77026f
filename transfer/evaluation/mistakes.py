"""The misclassified images with their Grad-CAM: one by one for the report, and on one sheet."""

import shutil
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from transfer.evaluation.fonts import can_draw, families, has_all_fonts
from transfer.runtime.files import atomic_write

COLUMNS = 4
NAME_WIDTH = 27
LEFT_TO_RIGHT = "\u200e"  # a mark that keeps a name from turning the words around it
FOOTNOTE = (
    "The fonts of this picture lack some names: there files are called as in mistakes.csv, and "
    "classes by their numbers. That table and the report have the names."
)
MORE_FONTS = "\n`make .venv/extra-fonts` installs fonts of more scripts (docs/your-data.md)."
THUMBNAIL = 128  # pixels per side at most, because the report contains all of them


def most_confident_mistakes(labels: np.ndarray, probabilities: np.ndarray, most: int) -> np.ndarray:
    """Rows of misclassified images, int (M,), at most `most`, the most confident mistake first;
    equally confident ones in the split's order."""
    predicted = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    return wrong[np.argsort(-probabilities[wrong, predicted[wrong]], kind="stable")][:most]


def write_pictures(folder: Path, pictures: list[np.ndarray]) -> list[str]:
    """Replace a folder by one that holds pictures uint8 (H, W, 3) as 001.png, 002.png, ...;
    their names."""
    names = [f"{number:03d}.png" for number in range(1, len(pictures) + 1)]
    temporary = folder.with_name(f".tmp-{folder.name}")
    for old in (temporary, folder):
        shutil.rmtree(old, ignore_errors=True)
    temporary.mkdir(parents=True)
    for name, picture in zip(names, pictures, strict=True):
        Image.fromarray(picture).save(temporary / name, optimize=True)
    temporary.rename(folder)
    return names


def side_by_side(image: np.ndarray, explained: np.ndarray) -> np.ndarray:
    """Two pictures uint8 (H, W, 3) as one (H', 2 W', 3), shrunk if they are larger than a
    thumbnail."""
    both = Image.fromarray(np.hstack([image, explained]))
    both.thumbnail((2 * THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    return np.asarray(both)


def draw_mistakes(
    path: Path,
    title: str,
    pairs: list[np.ndarray],
    table: pd.DataFrame,
    class_names: Sequence[str],
) -> None:
    """Draw pictures uint8 (H, W, 3) as a PNG sheet, each under its row of the table: file, path,
    actual, predicted, probability.

    The sheet is drawn with the font that comes with Matplotlib and with those of the extra `fonts`,
    so that it is the same bytes on every machine that has the same of them. Names in a script that
    they lack are replaced, and a line below says so.

    Args:
        class_names: of all classes, by label.
    """
    n_rows = max(1, -(-len(pairs) // COLUMNS))
    figure = Figure(figsize=(COLUMNS * 2.6, n_rows * 1.95 + 0.6), dpi=80, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    axes = figure.subplots(n_rows, COLUMNS, squeeze=False).ravel()
    for axis in axes:
        axis.axis("off")
    for axis, pair, row in zip(axes, pairs, table.itertuples(), strict=False):
        # the pixels that the model saw, in half the bytes
        axis.imshow(pair, interpolation="nearest")
        axis.set_title(
            caption(row, class_names), fontsize=7, fontfamily=families(), parse_math=False
        )
    names = {*table["actual"], *table["predicted"], *map(_file_name, table["path"])}
    if not all(map(can_draw, names)):
        figure.supxlabel(FOOTNOTE if has_all_fonts() else FOOTNOTE + MORE_FONTS, fontsize=7)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})


def caption(row: Any, class_names: Sequence[str]) -> str:
    """Two lines on a mistake: its file, and what was taken for what.

    Args:
        row: of the table of mistakes, as a named tuple.
    """
    name = _file_name(row.path)
    file = _marked(shorten(name)) if can_draw(name) else row.file
    actual, predicted = (
        _marked(each) if can_draw(each) else f"class {class_names.index(each)}"
        for each in (row.actual, row.predicted)
    )
    return f"{file}\n{actual} taken for {predicted}, {row.probability:.0%}"


def _marked(text: str) -> str:
    text = unicodedata.normalize("NFC", text)
    if {unicodedata.bidirectional(character) for character in text}.isdisjoint({"R", "AL", "AN"}):
        return text
    return f"{LEFT_TO_RIGHT}{text}{LEFT_TO_RIGHT}"


def _file_name(path: str) -> str:
    return path.rsplit("/", 1)[-1]


def shorten(name: str) -> str:
    """The name in at most NAME_WIDTH characters, its middle left out:
    both ends tell files apart."""
    half = (NAME_WIDTH - 1) // 2
    return name if len(name) <= NAME_WIDTH else f"{name[:half]}…{name[-half:]}"
