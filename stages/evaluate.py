"""Evaluate one model on the test split, or on validation if there are no test images; nothing is
selected here.

python -m stages.evaluate head
"""

import shutil
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import PositiveInt

from transfer.backbones.registry import BackboneParams
from transfer.classifiers.names import BASELINES, EVALUATION, MODEL_NAMES, is_skipped
from transfer.classifiers.probabilities import probabilities
from transfer.classifiers.temperatures import calibration_file
from transfer.compute.params import ComputeParams
from transfer.dataset.examples import Examples, read_examples
from transfer.dataset.manifest import class_names, read_manifest, split_rows
from transfer.dataset.scored_split import TEST, scored_split, split_field, title_note
from transfer.evaluation.calibration import (
    Calibration,
    choose_threshold,
    class_logits,
    fit_temperature,
)
from transfer.evaluation.evaluated_model import EvaluatedModel, load_evaluated_model
from transfer.evaluation.mistakes import (
    MOST_ON_SHEET,
    draw_mistakes,
    most_confident_mistakes,
    side_by_side,
    write_pictures,
)
from transfer.evaluation.scores import (
    class_table,
    precision_recall,
    quality,
    reliability,
    roc,
    score,
)
from transfer.runtime.errors import PipelineError
from transfer.runtime.files import write_json, write_table
from transfer.runtime.params import Params, load_params
from transfer.runtime.resource_params import ResourceParams
from transfer.runtime.stage import run_stage
from transfer.storage.array_paths import inputs_path
from transfer.storage.arrays import read_array
from transfer.storage.params import Shards
from transfer.storage.sharded_array import ShardedArray


class EvaluateParams(Params):
    """max_mistakes: misclassified images that are shown per model, one by one; the contact sheet
    has MOST_ON_SHEET of them at most."""

    max_mistakes: PositiveInt


@dataclass(frozen=True)
class SplitPredictions:
    """A model's probabilities (N, C) of the scored split, before and after calibration, and the
    temperature and threshold chosen for it on validation."""

    probabilities: np.ndarray
    calibrated: np.ndarray
    calibration: Calibration


def main(name: str) -> None:
    """Score the model `name` and write the results to data/evaluation/NAME."""
    params = load_params(EvaluateParams, "evaluate")
    architecture = load_params(BackboneParams, "backbone")
    compute = load_params(ComputeParams, "compute")
    shards = Shards(load_params(ResourceParams, "resources").shards_url)
    folder = EVALUATION / name
    if is_skipped(name):
        write_skipped(folder)
        return
    manifest = read_manifest()
    split = scored_split(manifest)
    rows, names = split_rows(manifest, split), class_names(manifest)
    scored = partial(read_split, split, len(rows), shards)
    check_test_rows(manifest, shards)
    model = load_evaluated_model(name, manifest, scored, shards, architecture, compute)
    predictions = predict_split(model, manifest, split, shards)
    write_results(name, predictions, rows, names, split)
    write_mistakes(
        model, scored("images"), predictions.calibrated, rows, params.max_mistakes, split
    )


def read_split(split: str, rows: int, shards: Shards, kind: str) -> np.ndarray | ShardedArray:
    """A split's array (N, ...) of a kind: `images`, `features` or activations at the `cut`; raises
    PipelineError if it has not so many rows."""
    return read_array(inputs_path(split, kind), shards, rows=rows, ndim=4)


def check_test_rows(manifest: pd.DataFrame, shards: Shards) -> None:
    """See that the manifest has all test images: if it had lost them, validation would be scored.

    Raises:
        PipelineError: `decode` wrote another number of test images.
    """
    read_split(TEST, len(split_rows(manifest, TEST)), shards, "images")


def write_skipped(folder: Path) -> None:
    """Write scores without values, which tell `compare` that the model was skipped."""
    shutil.rmtree(folder, ignore_errors=True)
    write_json(folder / "scores.json", {})


def predict_split(
    model: EvaluatedModel, manifest: pd.DataFrame, split: str, shards: Shards
) -> SplitPredictions:
    """Choose temperature and threshold on the validation images and predict the images of `split`.

    Raises:
        PipelineError: the model was trained on classes other than the manifest's, or computes
            numbers that are not finite.
    """
    if model.class_names != class_names(manifest):
        raise PipelineError(
            f"the model knows {model.class_names}, the manifest {class_names(manifest)}; run "
            "`dvc repro`"
        )
    validation, scored = (
        read_examples(manifest, each, model.input_kind, shards) for each in ("validation", split)
    )
    calibration = calibrate(model, validation)
    logits = logits_of(model, scored)
    return SplitPredictions(
        probabilities(logits), probabilities(logits / calibration.temperature), calibration
    )


def calibrate(model: EvaluatedModel, validation: Examples) -> Calibration:
    """The temperature and, for two classes, the threshold that suit the validation images best."""
    logits = logits_of(model, validation)
    temperature = fit_temperature(class_logits(logits), validation.labels)
    is_binary = logits.shape[1] == 1
    return Calibration(
        temperature,
        choose_threshold(validation.labels, probabilities(logits / temperature)[:, 1])
        if is_binary
        else None,
    )


def logits_of(model: EvaluatedModel, examples: Examples) -> np.ndarray:
    """Logits float32 (N, L) of the examples.

    Raises:
        PipelineError: one is not finite.
    """
    logits = model.logits(examples.inputs)
    if not np.isfinite(logits).all():
        remedy = "delete data/features" if model.name in BASELINES else "lower its learning_rate"
        raise PipelineError(
            f"{model.name}: {(~np.isfinite(logits)).any(axis=1).sum()} of "
            f"{len(logits)} images get no finite logit; {remedy} and run `dvc repro`"
        )
    return logits


def calibrated_scores(labels: np.ndarray, model: SplitPredictions) -> dict[str, float]:
    """How the temperature changes the quality of the probabilities, and how the threshold changes
    the accuracy."""
    scores = {"temperature": model.calibration.temperature}
    scores |= {
        f"{name}_calibrated": value for name, value in quality(labels, model.calibrated).items()
    }
    if (threshold := model.calibration.threshold) is not None:
        right = (model.calibrated[:, 1] >= threshold) == labels
        scores |= {"threshold": threshold, "accuracy_at_threshold": round(float(right.mean()), 6)}
    return scores


def write_results(
    name: str, model: SplitPredictions, rows: pd.DataFrame, names: list[str], split: str
) -> None:
    """Write a model's calibration, scores, predictions and curves.

    Args:
        rows: the manifest's rows of the scored split.
        names: of the classes, by label.
        split: the scored split, which scores and tables name unless it is the test split.
    """
    folder, labels, field = EVALUATION / name, rows["label"].to_numpy(), split_field(split)
    write_json(calibration_file(name), asdict(model.calibration))
    write_json(
        folder / "scores.json",
        field | score(labels, model.probabilities, names, split) | calibrated_scores(labels, model),
    )
    predicted = model.probabilities.argmax(axis=1)
    both = {"as trained": model.probabilities, "calibrated": model.calibrated}
    bins = [reliability(labels, each).assign(calibration=kind) for kind, each in both.items()]
    tables = {
        "classes": class_table(labels, predicted, names, split),
        "predictions": prediction_table(rows, model.calibrated, names),
        "roc": roc(labels, model.probabilities),
        "precision_recall": precision_recall(labels, model.probabilities),
        "reliability": pd.concat(bins)[["calibration", "confidence", "accuracy", "n"]].round(6),
    }
    for kind, table in tables.items():
        write_table(folder / f"{kind}.csv", table.assign(**field))


def prediction_table(rows: pd.DataFrame, predictions: np.ndarray, names: list[str]) -> pd.DataFrame:
    """One row per image for the confusion plot: path, actual, predicted, probability of the
    predicted class."""
    return pd.DataFrame(
        {
            "path": rows["path"],
            "actual": rows["class_name"],
            "predicted": [names[label] for label in predictions.argmax(axis=1)],
            "probability": predictions.max(axis=1).round(6),
        }
    )


def write_mistakes(
    model: EvaluatedModel,
    images: np.ndarray,
    predictions: np.ndarray,
    scored: pd.DataFrame,
    most: int,
    split: str,
) -> None:
    """Write a model's most confident mistakes, each image beside what spoke for the wrong class:
    one picture per mistake, and a contact sheet of the first of them.

    Args:
        images: of the scored split, uint8 (N, H, W, 3).
        predictions: calibrated probabilities (N, C).
        scored: the manifest's rows of the scored split.
        split: its name, which the sheet's title has unless it is the test split.
    """
    folder = EVALUATION / model.name
    rows = most_confident_mistakes(scored["label"].to_numpy(), predictions, most)
    explained = model.explain(rows, predictions[rows].argmax(axis=1))
    pairs = [
        side_by_side(images[row], picture) for row, picture in zip(rows, explained, strict=True)
    ]
    table = prediction_table(scored.iloc[rows], predictions[rows], model.class_names)
    table.insert(0, "file", write_pictures(folder / "mistakes", pairs))
    write_table(folder / "mistakes.csv", table.assign(**split_field(split)))
    n_wrong = int((predictions.argmax(axis=1) != scored["label"]).sum())
    on_sheet = min(len(rows), MOST_ON_SHEET)
    shown = f", the {on_sheet} surest" if on_sheet < n_wrong else ""
    draw_mistakes(
        folder / "mistakes.png",
        f"{model.name}{title_note(split)}: {n_wrong} of {len(scored)} wrong{shown}",
        pairs,
        table,
        model.class_names,
    )


if __name__ == "__main__":
    run_stage(main, MODEL_NAMES)
