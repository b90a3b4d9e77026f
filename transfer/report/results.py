"""The results of the other stages, read back for the report as one object and checked while they
are read."""

import json
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from transfer.classifiers.names import (
    BASELINES,
    EVALUATION,
    MODEL_NAMES,
    NEIGHBOURS,
    PROBE,
    description_file,
    history_file,
)
from transfer.dataset.manifest import read_manifest
from transfer.dataset.notes_file import read_notes
from transfer.dataset.scored_split import FIELD, TEST, VALIDATION, split_of
from transfer.runtime.errors import PipelineError

Kind = Literal["text", "number", "number or words"]
Value = float | str
HISTORY = dict.fromkeys(("epoch", "loss", "accuracy", "val_loss", "val_accuracy"), "number")
# what was chosen for a baseline, as its description names it
SETTINGS = {NEIGHBOURS: "neighbours", PROBE: "strength"}
CLASSES = {"class_name": "text"} | dict.fromkeys(
    ("precision", "recall", "f1", "support"), "number or words"
)
PREDICTIONS = dict.fromkeys(("path", "actual", "predicted"), "text")
ROC = dict.fromkeys(("false_positive_rate", "true_positive_rate"), "number")
PRECISION_RECALL = dict.fromkeys(("recall", "precision"), "number")
RELIABILITY = {"calibration": "text"} | dict.fromkeys(("confidence", "accuracy", "n"), "number")
MISTAKES = dict.fromkeys(("file", "path", "actual", "predicted"), "text") | {
    "probability": "number"
}
ACCURACY = {"model": "text"} | dict.fromkeys(("accuracy", "low", "high"), "number or words")
COMPARISON = {
    **dict.fromkeys(("model", "against"), "text"),
    **dict.fromkeys(("difference", "difference_low", "difference_high"), "number or words"),
    **dict.fromkeys(("only_model_right", "only_against_right"), "number or words"),
    **dict.fromkeys(("p", "p_holm"), "number or words"),
    **dict.fromkeys(("method", "verdict"), "text"),
}
ISSUES = dict.fromkeys(("path", "split", "class_name", "issue"), "text") | {
    "score": "number or words",
    "detail": "text",
}
FEATURE_MAP = dict.fromkeys(("x", "y"), "number") | dict.fromkeys(
    ("class_name", "split", "path"), "text"
)
REQUIRED_METRICS = ("n", "accuracy", "accuracy_low", "accuracy_high")


@dataclass(frozen=True)
class ModelResults:
    """One model on the test split, or on validation if there are no test images.

    split: which of the two. metrics: a number, or a sentence if the metric is not defined. epoch:
    the one whose weights were kept, from 1; None for a baseline. history: one row per epoch, no
    rows for a baseline. setting: what validation chose for a baseline, NaN for a network. classes:
    one row per class. predictions: one row per image of the split. roc, precision_recall,
    reliability: points of curves, empty if the curve is not defined. mistakes: the most confident
    first; `pictures / f"{file}.png"` is its picture.
    """

    name: str
    split: str
    metrics: dict[str, Value]
    class_names: list[str]
    epoch: int | None
    history: pd.DataFrame
    setting: float
    classes: pd.DataFrame
    predictions: pd.DataFrame
    roc: pd.DataFrame
    precision_recall: pd.DataFrame
    reliability: pd.DataFrame
    mistakes: pd.DataFrame
    pictures: Path


@dataclass(frozen=True)
class Results:
    """All that the report shows, apart from parameters, checksums and the sheet of augmented views.

    notes: sentences on what `split` did to the data.
    comparison: one row per pair of models. issues: what the audit found, one row per image and
        issue; audit: its counts by name.
    feature_map: one row per image, its features in two dimensions.
    """

    manifest: pd.DataFrame
    rejected: pd.DataFrame
    notes: list[str]
    duplicates: pd.DataFrame
    models: list[ModelResults]
    accuracy: pd.DataFrame
    comparison: pd.DataFrame
    issues: pd.DataFrame
    audit: dict[str, Value]
    feature_map: pd.DataFrame

    @property
    def split(self) -> str:
        """The split that all models were scored on."""
        return self.models[0].split


def read_results() -> Results:
    """Read all results below the working directory.

    Raises:
        PipelineError: a file is missing or is not what its stage writes.
    """
    split, audit = Path("data/split"), Path("data/audit")
    accuracy = _of_models(Path("plots/accuracy.csv"), ACCURACY, ["model"])
    return Results(
        manifest=read_manifest(),
        rejected=read_table(split / "rejected.csv", dict.fromkeys(("path", "reason"), "text")),
        notes=read_notes(),
        duplicates=read_table(
            split / "duplicates.csv",
            dict.fromkeys(("group", "split", "path", "same_file_in_two_classes"), "text"),
        ),
        models=[read_model(name) for name in accuracy["model"]],
        accuracy=accuracy,
        comparison=_of_models(Path("plots/comparison.csv"), COMPARISON, ["model", "against"]),
        issues=read_table(audit / "issues.csv", ISSUES),
        audit=_values(read_json(Path("metrics/audit.json"))),
        feature_map=read_table(audit / "feature_map.csv", FEATURE_MAP),
    )


def read_model(name: str) -> ModelResults:
    """Read what is known of one model; raises PipelineError as `read_results`."""
    found = EVALUATION / name
    class_names, epoch, setting = _read_description(name)
    metrics = _values(read_json(found / "scores.json"))
    if missing := [key for key in REQUIRED_METRICS if key not in metrics]:
        raise damaged(found / "scores.json", f"{missing[0]} is missing")
    if (split := split_of(metrics)) not in (TEST, VALIDATION):
        raise damaged(found / "scores.json", f"{FIELD} = {split!r}")
    history = pd.DataFrame(columns=list(HISTORY), dtype=float)
    if name not in BASELINES:
        history = read_table(history_file(name), HISTORY)
    return ModelResults(
        name=name,
        split=split,
        metrics={key: score for key, score in metrics.items() if key != FIELD},
        class_names=class_names,
        epoch=epoch,
        history=history,
        setting=setting,
        classes=read_table(found / "classes.csv", CLASSES),
        predictions=read_table(found / "predictions.csv", PREDICTIONS),
        roc=read_table(found / "roc.csv", ROC),
        precision_recall=read_table(found / "precision_recall.csv", PRECISION_RECALL),
        reliability=read_table(found / "reliability.csv", RELIABILITY),
        mistakes=read_table(found / "mistakes.csv", MISTAKES),
        pictures=found / "mistakes",
    )


def _read_description(name: str) -> tuple[list[str], int | None, float]:
    """A model's class names, and which epoch was kept or which setting was chosen: the other is
    None or NaN."""
    path = description_file(name)
    description = read_json(path)
    class_names = description.get("class_names")
    key = SETTINGS.get(name, "epoch")
    chosen = description.get(key)
    if (
        not isinstance(class_names, list)
        or not all(isinstance(each, str) for each in class_names)
        or type(chosen) not in ((int,) if key == "epoch" else (int, float))
    ):
        raise damaged(path, f"class_names = {class_names!r}, {key} = {chosen!r}")
    return (class_names, chosen, math.nan) if key == "epoch" else (class_names, None, chosen)


def read_table(path: Path, columns: Mapping[str, Kind]) -> pd.DataFrame:
    """Read the named columns of a CSV file, in that order; others are left out.

    Text stays text (`NA` too). A number is a finite float64, or NaN if the cell is empty;
    "number or words" is a float or else a str.

    Raises:
        PipelineError: missing, not a table, a column is missing, or a number is invalid or
            infinite.
    """
    table = read_text_table(path)
    if missing := [name for name in columns if name not in table.columns]:
        raise damaged(
            path, f"column {missing[0]!r} is missing among {', '.join(map(str, table.columns))}"
        )
    try:
        return pd.DataFrame({name: _converted(table[name], kind) for name, kind in columns.items()})
    except (ValueError, OverflowError) as error:
        raise damaged(path, str(error)) from None


def read_text_table(path: Path) -> pd.DataFrame:
    """Read all columns of a CSV file as text, so that digits stay as they are written.

    Raises:
        PipelineError: missing, or not a table.
    """
    try:
        with warnings.catch_warnings(action="error"):
            return pd.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise PipelineError(f"{path} is missing; run `dvc repro` or `dvc pull`") from None
    except (ValueError, OSError, Warning) as error:
        raise damaged(path, str(error)) from None


def _of_models(path: Path, columns: Mapping[str, Kind], names: list[str]) -> pd.DataFrame:
    """A table whose columns `names` hold names of models."""
    table = read_table(path, columns)
    if unknown := sorted({*table[names].to_numpy().ravel()} - {*MODEL_NAMES}):
        raise damaged(path, f"there is no model {unknown[0]!r}")
    if table.empty and names == ["model"]:
        raise damaged(path, "it names no model")
    return table


def _converted(column: pd.Series, kind: Kind) -> pd.Series:
    if kind == "text":
        return column
    numbers = pd.to_numeric(
        column.replace("", None), errors="raise" if kind == "number" else "coerce"
    ).astype("float64")
    if np.isinf(numbers).any():
        raise ValueError(f"{column.name} is infinite")
    return numbers if kind == "number" else numbers.astype(object).where(numbers.notna(), column)


def read_json(path: Path) -> dict:
    """Read a JSON object.

    Raises:
        PipelineError: missing, not JSON, or no object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PipelineError(f"{path} is missing; run `dvc repro` or `dvc pull`") from None
    except (ValueError, RecursionError, OSError) as error:
        raise damaged(path, str(error)) from None
    if not isinstance(content, dict):
        raise damaged(path, f"it holds a {type(content).__name__}, an object was expected")
    return content


def _values(content: dict) -> dict[str, Value]:
    """The numbers and texts of an object; others have no place in a table."""
    return {key: value for key, value in content.items() if isinstance(value, int | float | str)}


def damaged(path: Path, problem: str) -> PipelineError:
    return PipelineError(
        f"{path} is damaged: {problem}; delete it and run `dvc repro`, or `dvc pull` it again"
    )
