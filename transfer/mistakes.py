"""A picture of the images that a classifier got wrong."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from transfer.files import replacing

COLUMNS = 6
NAME_WIDTH = 27


def draw_mistakes(
    path: Path,
    title: str,
    images: np.ndarray,
    names: Sequence[str],
    labels: np.ndarray,
    probabilities: np.ndarray,
    class_names: list[str],
    most: int,
) -> None:
    """Draw the misclassified images as a PNG sheet, the surest mistake first, `most` at the most.

    Args:
        images: uint8 (N, H, W, 3).
        names: what to call each image, shortened to fit.
        labels: int (N,).
        probabilities: (N, C).
    """
    predicted = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    wrong = wrong[np.argsort(probabilities[wrong, labels[wrong]], kind="stable")]
    shown = wrong[:most]
    n_rows = max(1, -(-len(shown) // COLUMNS))
    figure = Figure(figsize=(COLUMNS * 1.7, n_rows * 2.2 + 0.6), dpi=80, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(f"{title}: {len(wrong)} of {len(labels)} wrong" + (f", the {len(shown)} surest" if len(shown) < len(wrong) else ""))
    axes = figure.subplots(n_rows, COLUMNS, squeeze=False).ravel()
    for axis in axes:
        axis.axis("off")
    for axis, row in zip(axes, shown, strict=False):
        axis.imshow(images[row], interpolation="nearest")  # the pixels that the model saw, in half the bytes
        sure = f"{probabilities[row, predicted[row]]:.0%}"
        name = shorten(names[row])
        axis.set_title(f"{name}\n{class_names[labels[row]]}\ntaken for {class_names[predicted[row]]}, {sure}", fontsize=7, parse_math=False)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})


def shorten(name: str) -> str:
    """The name in at most NAME_WIDTH characters, its middle left out: both ends tell files apart."""
    half = (NAME_WIDTH - 1) // 2
    return name if len(name) <= NAME_WIDTH else f"{name[:half]}…{name[-half:]}"
