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
# pixels of the sheet
DPI = 80
TITLE = 32
CELL_WIDTH, CELL_HEIGHT = 208, 144
CAPTION = 32
GAP = 8
MOST_ON_SHEET = 100  # 3,600 pixels high
FILE_WIDTH, CLASS_WIDTH = 27, 14  # characters that fit above a picture
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
    """Draw the first MOST_ON_SHEET pictures uint8 (H, W, 3) as a PNG sheet, each under its row of
    the table: file, path, actual, predicted, probability.

    The sheet is drawn with the font that comes with Matplotlib and with those of the extra `fonts`,
    so that it is the same bytes on every machine that has the same of them. Names in a script that
    they lack are replaced, and a line below says so.

    Args:
        class_names: of all classes, by label.
    """
    pairs, table = pairs[:MOST_ON_SHEET], table.head(MOST_ON_SHEET)
    names = {*table["actual"], *table["predicted"], *map(_file_name, table["path"])}
    footnote = ""
    if not all(map(can_draw, names)):
        footnote = FOOTNOTE if has_all_fonts() else FOOTNOTE + MORE_FONTS
    width = COLUMNS * CELL_WIDTH
    height = TITLE + max(1, -(-len(pairs) // COLUMNS)) * CELL_HEIGHT + (TITLE if footnote else 0)
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
    FigureCanvasAgg(figure)

    def write(x: int, below_top: int, text: str, **how: Any) -> None:
        figure.text(
            x / width,
            1 - below_top / height,
            text,
            horizontalalignment="center",
            parse_math=False,
            **how,
        )

    write(width // 2, TITLE // 2, title, fontsize=12, verticalalignment="center")
    for place, (pair, row) in enumerate(zip(pairs, table.itertuples(), strict=True)):
        left, top = place % COLUMNS * CELL_WIDTH, TITLE + place // COLUMNS * CELL_HEIGHT
        picture = _fitted(pair)
        # axes for each picture, and a search for their layout, would take most of the stage's time
        figure.figimage(
            picture,
            xo=left + (CELL_WIDTH - picture.shape[1]) // 2,
            yo=height - top - CAPTION - picture.shape[0],
        )
        write(
            left + CELL_WIDTH // 2,
            top + CAPTION - 4,
            caption(row, class_names),
            fontsize=7,
            fontfamily=families(),
            verticalalignment="bottom",
        )
    write(width // 2, height - 4, footnote, fontsize=7, verticalalignment="bottom")
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})


def _fitted(picture: np.ndarray) -> np.ndarray:
    """A picture as large as its cell allows, with the pixels that the model saw as squares."""
    height, width = picture.shape[:2]
    scale = min((CELL_WIDTH - GAP) / width, (CELL_HEIGHT - CAPTION - GAP) / height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.NEAREST))


def caption(row: Any, class_names: Sequence[str]) -> str:
    """Two lines on a mistake: its file, and what was taken for what.

    Args:
        row: of the table of mistakes, as a named tuple.
    """
    name = _file_name(row.path)
    file = _marked(shorten(name, FILE_WIDTH)) if can_draw(name) else row.file
    actual, predicted = (
        _marked(shorten(each, CLASS_WIDTH))
        if can_draw(each)
        else f"class {class_names.index(each)}"
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


def shorten(name: str, width: int) -> str:
    """The name in at most `width` characters, its middle left out: both ends tell names apart."""
    half = (width - 1) // 2
    return name if len(name) <= width else f"{name[:half]}…{name[-half:]}"
