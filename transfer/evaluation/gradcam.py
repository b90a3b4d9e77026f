"""Grad-CAM: which regions of an image speak for a class. Needs no Keras."""

from typing import Protocol

import numpy as np
from PIL import Image

from transfer.evaluation.conventions import DECIMALS


class GradCam(Protocol):
    """Where images speak for a class, by one trained model.

    Attributes:
        start: what it is computed from, `images` or `cut`.
    """

    start: str

    def heat_maps(self, starts: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """One heat map per image: float32 (M, h, w), 0 to 1; all 0 if nothing speaks for the class.

        Args:
            starts: `images`, uint8 (M, H, W, 3), or activations at the `cut`, (M, h, w, C).
            labels: of the classes, int (M,).
        """


def heat_of(maps: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    """Grad-CAM (Selvaraju et al. 2017): where feature maps speak for a class.

    Args:
        maps: the last feature maps of some images, (M, h, w, C).
        gradients: of the class's logit with regard to the maps, or to what pooling layers make of
            them, (M, h', w', C). A pooling layer hands each gradient on to the maps in parts that
            add up to it, so both have the same sum over the picture but for a factor.

    Returns:
        float32 (M, h, w), 0 to 1; all 0 if nothing speaks for the class.
    """
    channels = gradients.mean(axis=(1, 2), keepdims=True, dtype=np.float64)
    # a channel that is the same everywhere (a transformer's class token) tells no region
    channels = channels * (np.ptp(maps, axis=(1, 2), keepdims=True) > 0)
    heat = np.maximum((maps * channels).sum(axis=-1), 0)
    most = heat.max(axis=(1, 2), keepdims=True)
    scaled = np.divide(heat, most, out=np.zeros_like(heat), where=most > 0)
    return scaled.round(DECIMALS).astype(np.float32)


def signs(targets: np.ndarray, n_logits: int) -> np.ndarray:
    """The weights whose product with the logits is each target's logit, float32 (M, L). A single
    logit speaks for label 1 and against label 0."""
    if n_logits == 1:
        return (2 * targets - 1).reshape(-1, 1).astype(np.float32)
    return np.eye(n_logits, dtype=np.float32)[targets]


def overlay(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """The image in grey under its heat map: uint8 (H, W, 3) and float (h, w) from 0 to 1 -> uint8
    (H, W, 3)."""
    from matplotlib import colormaps

    height, width = image.shape[:2]
    smooth = np.asarray(
        Image.fromarray(heat.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR)
    )
    grey = np.asarray(Image.fromarray(image).convert("L").convert("RGB"))
    colours = colormaps["inferno"](np.clip(smooth, 0, 1))[..., :3] * 255
    return np.rint(0.45 * grey + 0.55 * colours).astype(np.uint8)
