"""The models that the pipeline trains, in its order, and where each lies."""

import json
from pathlib import Path

MODEL_NAMES = ("scratch", "head", "augmented", "finetuned")
MODELS = Path("models")


def description_file(name: str, folder: Path = MODELS) -> Path:
    """The layers, the class names, and what the model takes."""
    return folder / f"{name}.json"


def weights_file(name: str, folder: Path = MODELS) -> Path:
    """The weights, HDF5."""
    return folder / f"{name}.weights.h5"


def is_skipped(name: str, folder: Path = MODELS) -> bool:
    """Whether the model's training was skipped; a file that is missing or damaged is left to
    `load_classifier`."""
    try:
        return "skipped" in json.loads(description_file(name, folder).read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError, RecursionError):
        return False
