"""What `evaluate` wrote for each model, joined: one table of scores and one table per curve."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from transfer.classifiers.names import EVALUATION, MODEL_NAMES
from transfer.report.results import read_json, read_text_table
from transfer.runtime.errors import PipelineError
from transfer.runtime.files import atomic_write

CURVES = ("classes", "precision_recall", "predictions", "reliability", "roc")  # of each model


def read_scores() -> dict[str, dict]:
    """The scores of the models that were not skipped, by name, in the pipeline's order.

    Raises:
        PipelineError: a file is missing or damaged.
    """
    found = {name: read_json(EVALUATION / name / "scores.json") for name in MODEL_NAMES}
    return {name: scores for name, scores in found.items() if scores}


def read_is_right(name: str, scored: pd.DataFrame) -> np.ndarray:
    """Whether a model labelled each image of the scored split rightly, bool (N,).

    Args:
        scored: the manifest's rows of that split.

    Raises:
        PipelineError: its predictions are for images other than those of the manifest.
    """
    path = EVALUATION / name / "predictions.csv"
    predictions = read_text_table(path)
    if predictions["path"].tolist() != scored["path"].tolist():
        raise PipelineError(f"{path} lists other images than the manifest; run `dvc repro`")
    return (predictions["actual"] == predictions["predicted"]).to_numpy()


def accuracy_table(scores: dict[str, dict]) -> pd.DataFrame:
    """One row per model for the interval plot: model, accuracy, low, high."""
    rows = [
        (name, each["accuracy"], each["accuracy_low"], each["accuracy_high"])
        for name, each in scores.items()
    ]
    return pd.DataFrame(rows, columns=["model", "accuracy", "low", "high"])


def joined(files: dict[str, Path]) -> pd.DataFrame:
    """The rows of the models' tables, one model after the other, with a first column `model`.

    Args:
        files: CSV files with the same columns, by model.
    """
    tables = [read_text_table(file) for file in files.values()]
    for name, table in zip(files, tables, strict=True):
        table.insert(0, "model", name)
    return pd.concat(tables, ignore_index=True)


def copy_sheets(names: list[str], folder: Path) -> None:
    """Put each model's contact sheet of mistakes at `folder`/NAME.png, then delete those of models
    that no longer exist."""
    for name in names:
        with atomic_write(folder / f"{name}.png") as temporary:
            shutil.copyfile(EVALUATION / name / "mistakes.png", temporary)
    for sheet in folder.glob("*.png"):
        if sheet.stem not in names:
            sheet.unlink()
