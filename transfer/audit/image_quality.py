"""Image quality: dark, light, blurry and empty images, and images of unusual shape or size,
whatever their class.

All but the blur is measured and scored by cleanvision. Its Imagelab would open the files itself, in
processes of its own; called piece by piece, it gets the pixels that `decode` gets, from archives
too, and prints nothing. Its own measure of blur found hardly any of the drawings that were blurred
on purpose, and a third of the photographs (docs/data-audit.md).
"""

from collections.abc import Iterable
from math import ceil

import numpy as np
import pandas as pd
from cleanvision.issue_managers.image_property_issue_manager import ImagePropertyIssueManager
from PIL import Image
from scipy.ndimage import uniform_filter1d

from transfer.audit.issues import Issue

_MANAGER = ImagePropertyIssueManager()
_BRIGHTNESS_SIDE = 512  # pixels; cleanvision needs some 100 bytes per pixel for it
# pixels; blur that disappears when the image is that small does not matter to a classifier
_SHARPNESS_SIDE = 128
_BLUR = 11  # pixels, the length of the filter


def measure(image: Image.Image) -> dict[str, float]:
    """The measurements by which an RGB image is scored: cleanvision's, `sharpness`, and width and
    height in pixels.

    The brightness of a large image is taken from the means of its blocks, of 2 x 2 pixels or more.
    """
    shrunk = image.reduce(max(ceil(max(image.size) / _BRIGHTNESS_SIDE), 1))
    measured = {"width": image.width, "height": image.height, "sharpness": sharpness(image)}
    for name, looked_at in (
        ("dark", shrunk),  # the light ones are found by it too
        ("low_information", image),
        ("odd_aspect_ratio", image),
        ("odd_size", image),
    ):
        measured |= _MANAGER.image_properties[name].calculate(looked_at)
    return measured


def sharpness(image: Image.Image) -> float:
    """The share of an image's local contrast that a blur would remove: 0 (none: already blurred, or
    flat) to 1.

    One minus the blur metric of Crete, Dolmiere, Ladret and Nicolas, "The blur effect" (2007), on
    neighbouring pixels along the rows or columns, whichever gives the worse value.
    """
    grey = image.convert("L")
    grey.thumbnail((_SHARPNESS_SIDE, _SHARPNESS_SIDE))
    pixels = np.asarray(grey, dtype=float)
    shares = []
    for axis in (0, 1):
        contrast = np.abs(np.diff(pixels, axis=axis))
        left = np.abs(np.diff(uniform_filter1d(pixels, _BLUR, axis=axis), axis=axis))
        shares.append(np.maximum(contrast - left, 0).sum() / max(contrast.sum(), 1))
    return float(min(shares))


def score_images(measured: pd.DataFrame, kinds: Iterable[str]) -> pd.DataFrame:
    """One score per image and kind, 0 to 1, lower is worse: float (N, kinds), from the rows of
    `measure`.

    `odd_size` depends on the other images: it is below 0.5 outside of three interquartile ranges
    around the middle half of the sizes or, if that half has only one size, below half or above one
    and a half of it. (The size is the square root of the area.)
    """
    scores = {"blurry": measured["sharpness"]}
    for kind in set(kinds) - {"blurry"}:
        cleanvisions = _MANAGER.image_properties[kind]
        scores[kind] = cleanvisions.get_scores(
            measured[cleanvisions.score_columns], kind, **_MANAGER.params[kind]
        ).iloc[:, 0]
    return pd.DataFrame(scores)[list(kinds)]


def find_image_problems(measured: pd.DataFrame, thresholds: dict[str, float]) -> list[Issue]:
    """The images whose score for some kind is below its threshold.

    Args:
        measured: the result of `measure` for each image, in their order.
        thresholds: by kind.
    """
    scores = score_images(measured, thresholds)
    issues = []
    for kind, threshold in thresholds.items():
        for row in (scores[kind] < threshold).to_numpy().nonzero()[0].tolist():
            width, height = measured[["width", "height"]].iloc[row]
            issues.append(
                Issue(row, kind, scores[kind].iloc[row], f"{width:.0f} x {height:.0f} pixels")
            )
    return issues
