"""The models that the pipeline trains, in its order, and where each is stored: one folder per
model. A further model needs its name here and in the matrix of `evaluate` in dvc.yaml, and no other
file name."""

import json
from pathlib import Path

NETWORKS = ("scratch", "head", "augmented", "finetuned")  # trained epoch by epoch, by Keras
NEIGHBOURS, PROBE = "neighbours", "probe"
BASELINES = (NEIGHBOURS, PROBE)  # fitted to the frozen features, by scikit-learn and NumPy
MODEL_NAMES = (*NETWORKS, *BASELINES)
MODELS = Path("models")
EVALUATION = Path("data/evaluation")  # results of `evaluate`, one folder per model
HISTORY = ("epoch", "loss", "accuracy", "val_loss", "val_accuracy")  # columns of `history_file`
SCORES = ("val_loss", "val_accuracy")  # columns of `choices_file`, behind that of the setting


def description_file(name: str, folder: Path = MODELS) -> Path:
    """The layers, the class names, and what the model takes."""
    return folder / name / "model.json"


def weights_file(name: str, folder: Path = MODELS) -> Path:
    """The weights, HDF5."""
    return folder / name / "model.weights.h5"


def history_file(name: str, folder: Path = MODELS) -> Path:
    """Losses and accuracies of a network, one row per epoch."""
    return folder / name / "history.csv"


def choices_file(name: str) -> Path:
    """Losses and accuracies of a baseline, one row per setting that was tried."""
    return MODELS / name / "choices.csv"


def is_skipped(name: str) -> bool:
    """Whether the model's training was skipped; a file that is missing or damaged is left to
    `load_classifier`."""
    try:
        return "skipped" in json.loads(description_file(name).read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError, RecursionError):
        return False
