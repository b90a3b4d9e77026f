"""Where arrays lie: their names end in what `arrays.format` says."""

from pathlib import Path
from typing import Literal

from transfer.runtime.params import load_param

IMAGES = Path("data/images")
FEATURES = Path("data/features")
VIEWS = Path("data/views")
_VIEWS_OF = {"features": "train", "cut": "train_cut"}


def inputs_path(split: str, input_kind: str) -> Path:
    """Where `decode` keeps a split's `images` (N, H, W, 3), `extract` its `features` (N, h, w, C)
    and activations at the `cut`."""
    folder, name = {
        "images": (IMAGES, split),
        "features": (FEATURES, split),
        "cut": (FEATURES, f"{split}_cut"),
    }[input_kind]
    return folder / f"{name}.{_format()}"


def views_path(input_kind: str) -> Path:
    """Where `augment` keeps the training views' `features` (V, N, h, w, C) or activations
    at the `cut`."""
    return VIEWS / f"{_VIEWS_OF[input_kind]}.{_format()}"


def _format() -> str:
    return load_param(Literal["npy", "shards"], "arrays.format")
