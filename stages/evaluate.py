"""Evaluate one model on the test split; nothing is selected here.

python -m stages.evaluate head
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import PositiveInt

from transfer.backbones.network import load_backbone
from transfer.backbones.registry import BackboneParams
from transfer.classifiers.logits import classifier_logits
from transfer.classifiers.names import EVALUATION, MODEL_NAMES, is_skipped
from transfer.classifiers.probabilities import probabilities
from transfer.classifiers.saved import Classifier, load_classifier
from transfer.classifiers.temperatures import calibration_file
from transfer.compute.device import ComputeParams, configure_backend
from transfer.compute.keras import keras
from transfer.dataset.examples import Examples, read_examples
from transfer.dataset.manifest import class_names, read_manifest, split_rows
from transfer.evaluation.calibration import (
    Calibration,
    choose_threshold,
    class_logits,
    fit_temperature,
)
from transfer.evaluation.gradcam import heat_maps, overlay, split_at_maps
from transfer.evaluation.mistakes import (
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


class EvaluateParams(Params):
    """max_mistakes: misclassified images that are shown per model."""

    max_mistakes: PositiveInt


@dataclass(frozen=True)
class SplitPredictions:
    """A model's test probabilities (N, C), before and after calibration, and the temperature and
    threshold chosen for it on validation."""

    probabilities: np.ndarray
    calibrated: np.ndarray
    calibration: Calibration


def main(name: str) -> None:
    """Score the model `name` and write the results to data/evaluation/NAME."""
    params = load_params(EvaluateParams, "evaluate")
    folder = EVALUATION / name
    if is_skipped(name):
        write_skipped(folder)
        return
    architecture = load_params(BackboneParams, "backbone")
    compute = load_params(ComputeParams, "compute")
    shards = Shards(load_params(ResourceParams, "resources").shards_url)
    configure_backend(compute, seed=0, threads=compute.threads)
    manifest = read_manifest()
    test, names = split_rows(manifest, "test"), class_names(manifest)
    classifier = load_classifier(name)
    judged = predict_test_split(classifier, manifest, shards)
    write_judgement(name, judged, test, names)
    write_mistakes(
        name,
        classifier.input_kind,
        explained_by(classifier, architecture),
        judged.calibrated,
        test,
        names,
        params.max_mistakes,
        shards,
    )


def write_skipped(folder: Path) -> None:
    """Write scores without values, which tell `compare` that the model was skipped."""
    shutil.rmtree(folder, ignore_errors=True)
    write_json(folder / "scores.json", {})


def predict_test_split(
    classifier: Classifier, manifest: pd.DataFrame, shards: Shards
) -> SplitPredictions:
    """Choose temperature and threshold on the validation images and predict the test images.

    Raises:
        PipelineError: the model was trained on classes other than the manifest's, or computes
            numbers that are not finite.
    """
    if classifier.class_names != class_names(manifest):
        raise PipelineError(
            f"the model knows {classifier.class_names}, the manifest {class_names(manifest)}; run "
            "`dvc repro`"
        )
    validation, test = (
        read_examples(manifest, split, classifier.input_kind, shards)
        for split in ("validation", "test")
    )
    calibration = calibrate(classifier, validation)
    logits = logits_of(classifier, test)
    return SplitPredictions(
        probabilities(logits), probabilities(logits / calibration.temperature), calibration
    )


def calibrate(classifier: Classifier, validation: Examples) -> Calibration:
    logits = logits_of(classifier, validation)
    temperature = fit_temperature(class_logits(logits), validation.labels)
    is_binary = logits.shape[1] == 1
    return Calibration(
        temperature,
        choose_threshold(validation.labels, probabilities(logits / temperature)[:, 1])
        if is_binary
        else None,
    )


def logits_of(classifier: Classifier, examples: Examples) -> np.ndarray:
    """Logits float32 (N, L), all of them finite."""
    logits = classifier_logits(classifier, examples.inputs)
    if not np.isfinite(logits).all():
        raise PipelineError(
            f"{classifier.model.name}: {(~np.isfinite(logits)).any(axis=1).sum()} of "
            f"{len(logits)} images get no finite logit; lower its learning_rate and run "
            "`dvc repro`"
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


def write_judgement(
    name: str, model: SplitPredictions, test: pd.DataFrame, names: list[str]
) -> None:
    """Write a model's calibration, scores, predictions and curves.

    Args:
        test: the manifest's rows of the test split.
        names: of the classes, by label.
    """
    folder, labels = EVALUATION / name, test["label"].to_numpy()
    write_json(calibration_file(name), model.calibration.to_dict())
    write_json(
        folder / "scores.json",
        score(labels, model.probabilities, names) | calibrated_scores(labels, model),
    )
    predicted = model.probabilities.argmax(axis=1)
    both = {"as trained": model.probabilities, "calibrated": model.calibrated}
    bins = [reliability(labels, each).assign(calibration=kind) for kind, each in both.items()]
    tables = {
        "classes": class_table(labels, predicted, names),
        "predictions": prediction_table(test, model.calibrated, names),
        "roc": roc(labels, model.probabilities),
        "precision_recall": precision_recall(labels, model.probabilities),
        "reliability": pd.concat(bins)[["calibration", "confidence", "accuracy", "n"]].round(6),
    }
    for kind, table in tables.items():
        write_table(folder / f"{kind}.csv", table)


def prediction_table(test: pd.DataFrame, predictions: np.ndarray, names: list[str]) -> pd.DataFrame:
    """One row per image for the confusion plot: path, actual, predicted, probability of the
    predicted class."""
    return pd.DataFrame(
        {
            "path": test["path"],
            "actual": test["class_name"],
            "predicted": [names[label] for label in predictions.argmax(axis=1)],
            "probability": predictions.max(axis=1).round(6),
        }
    )


def explained_by(
    classifier: Classifier, architecture: BackboneParams
) -> tuple[keras.Model, keras.Model]:
    """The two halves of the network that Grad-CAM needs. For a model that takes features they
    include the backbone's layers; other models do not need these."""
    backbone = load_backbone(architecture) if classifier.input_kind == "features" else None
    return split_at_maps(
        classifier.model, classifier.input_kind, backbone, architecture.unfreeze_from
    )


def write_mistakes(
    name: str,
    input_kind: str,
    explained: tuple[keras.Model, keras.Model],
    predictions: np.ndarray,
    test: pd.DataFrame,
    names: list[str],
    most: int,
    shards: Shards,
) -> None:
    """Write a model's most confident mistakes, each image beside its Grad-CAM for the wrong class:
    one picture per mistake, and a contact sheet."""
    folder = EVALUATION / name
    images = read_array(inputs_path("test", "images"), shards, rows=len(test), ndim=4)
    starts = (
        images
        if input_kind == "images"
        else read_array(inputs_path("test", "cut"), shards, rows=len(test), ndim=4)
    )
    rows = most_confident_mistakes(test["label"].to_numpy(), predictions, most)
    heats = heat_maps(explained, starts, rows, predictions[rows].argmax(axis=1))
    pairs = [
        side_by_side(images[row], overlay(images[row], heat))
        for row, heat in zip(rows, heats, strict=True)
    ]
    table = prediction_table(test.iloc[rows], predictions[rows], names)
    table.insert(0, "file", write_pictures(folder / "mistakes", pairs))
    write_table(folder / "mistakes.csv", table)
    n_wrong = int((predictions.argmax(axis=1) != test["label"]).sum())
    shown = f", the {len(rows)} surest" if len(rows) < n_wrong else ""
    draw_mistakes(
        folder / "mistakes.png",
        f"{name}: {n_wrong} of {len(test)} wrong{shown}",
        pairs,
        table,
    )


if __name__ == "__main__":
    run_stage(main, MODEL_NAMES)
