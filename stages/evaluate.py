"""Evaluate the models on the test split and compare them with each other; nothing is selected
here."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import NonNegativeInt, PositiveInt

from transfer.backbones.network import load_backbone
from transfer.backbones.registry import BackboneParams
from transfer.classifiers.names import MODEL_NAMES, is_skipped
from transfer.classifiers.probabilities import probabilities
from transfer.classifiers.saved import Classifier, load_classifier, predict_logits
from transfer.classifiers.temperatures import CALIBRATION
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
from transfer.evaluation.comparison import compare
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
from transfer.runtime.files import write_csv, write_json
from transfer.runtime.params import Params, load_params
from transfer.runtime.stage import run_stage
from transfer.storage.array_paths import inputs_path
from transfer.storage.arrays import read_array

MISTAKES = Path("data/mistakes")
METRICS = Path("metrics")
PLOTS = Path("plots")
CURVES = {  # what dvc.yaml draws of each model, by folder: the columns of its axes
    "roc": ["false_positive_rate", "true_positive_rate"],
    "precision_recall": ["recall", "precision"],
    "reliability": ["calibration", "confidence", "accuracy"],
    "predictions": ["actual", "predicted"],
}


class EvaluateParams(Params):
    max_mistakes: PositiveInt
    seed: NonNegativeInt


@dataclass(frozen=True)
class SplitPredictions:
    """A model's test probabilities (N, C), before and after calibration, and the temperature and
    threshold chosen for it on validation."""

    probabilities: np.ndarray
    calibrated: np.ndarray
    calibration: Calibration


def main() -> None:
    params = load_params(EvaluateParams, "evaluate")
    architecture = load_params(BackboneParams, "backbone")
    compute = load_params(ComputeParams, "compute")
    configure_backend(compute, seed=0, threads=compute.threads)
    manifest = read_manifest()
    test, names = split_rows(manifest, "test"), class_names(manifest)
    labels = test["label"].to_numpy()
    models = {name: load_classifier(name) for name in MODEL_NAMES if not is_skipped(name)}
    judged = {name: predict_test_split(model, manifest) for name, model in models.items()}
    write_json(CALIBRATION, {name: model.calibration.to_dict() for name, model in judged.items()})
    scores = {
        name: score(labels, model.probabilities, names) | calibrated_scores(labels, model)
        for name, model in judged.items()
    }
    write_json(METRICS / "accuracy.json", {name: scores[name]["accuracy"] for name in scores})
    write_table(PLOTS / "accuracy.csv", accuracy_table(scores))
    for name, model in judged.items():
        write_json(METRICS / f"{name}.json", scores[name])
        write_curves(name, labels, model)
        write_table(
            PLOTS / "classes" / f"{name}.csv",
            class_table(labels, model.probabilities.argmax(axis=1), names),
        )
        write_table(
            PLOTS / "predictions" / f"{name}.csv", prediction_table(test, model.calibrated, names)
        )
    is_right = {
        name: model.probabilities.argmax(axis=1) == labels for name, model in judged.items()
    }
    write_table(PLOTS / "comparison.csv", compare(is_right, test["group"].to_numpy(), params.seed))
    backbone = load_backbone(architecture)
    for name, model in models.items():
        explained = split_at_maps(
            model.model, model.input_kind, backbone, architecture.unfreeze_from
        )
        show_mistakes(
            name,
            model.input_kind,
            explained,
            judged[name].calibrated,
            test,
            names,
            params.max_mistakes,
        )
    for name in [name for name in MODEL_NAMES if name not in models]:
        write_empty_results(name)


def predict_test_split(classifier: Classifier, manifest: pd.DataFrame) -> SplitPredictions:
    """Choose temperature and threshold on the validation images and predict the test images.

    Raises:
        PipelineError: the model was trained on other classes than the manifest has, or gives
            numbers that are not finite.
    """
    if classifier.class_names != class_names(manifest):
        raise PipelineError(
            f"the model knows {classifier.class_names}, the manifest {class_names(manifest)}; run "
            "`dvc repro`"
        )
    validation, test = (
        read_examples(manifest, split, classifier.input_kind) for split in ("validation", "test")
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
    logits = predict_logits(classifier.model, examples.inputs)
    if not np.isfinite(logits).all():
        raise PipelineError(
            f"{classifier.model.name}: {(~np.isfinite(logits)).any(axis=1).sum()} of "
            f"{len(logits)} images get no finite logit; lower its learning_rate and run "
            "`dvc repro`"
        )
    return logits


def calibrated_scores(labels: np.ndarray, model: SplitPredictions) -> dict[str, float]:
    """How the temperature changes the quality of the probabilities, and the threshold the
    accuracy."""
    scores = {"temperature": model.calibration.temperature}
    scores |= {
        f"{name}_calibrated": value for name, value in quality(labels, model.calibrated).items()
    }
    if (threshold := model.calibration.threshold) is not None:
        right = (model.calibrated[:, 1] >= threshold) == labels
        scores |= {"threshold": threshold, "accuracy_at_threshold": round(float(right.mean()), 6)}
    return scores


def write_curves(name: str, labels: np.ndarray, model: SplitPredictions) -> None:
    write_table(PLOTS / "roc" / f"{name}.csv", roc(labels, model.probabilities))
    write_table(
        PLOTS / "precision_recall" / f"{name}.csv", precision_recall(labels, model.probabilities)
    )
    both = {"as trained": model.probabilities, "calibrated": model.calibrated}
    bins = [reliability(labels, each).assign(calibration=kind) for kind, each in both.items()]
    write_table(
        PLOTS / "reliability" / f"{name}.csv",
        pd.concat(bins)[["calibration", "confidence", "accuracy", "n"]].round(6),
    )


def accuracy_table(scores: dict[str, dict]) -> pd.DataFrame:
    """One row per model for the interval plot: model, accuracy, low, high."""
    rows = [
        (name, each["accuracy"], each["accuracy_low"], each["accuracy_high"])
        for name, each in scores.items()
    ]
    return pd.DataFrame(rows, columns=["model", "accuracy", "low", "high"])


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


def show_mistakes(
    name: str,
    input_kind: str,
    explained: tuple[keras.Model, keras.Model],
    predictions: np.ndarray,
    test: pd.DataFrame,
    names: list[str],
    most: int,
) -> None:
    """Write a model's most confident mistakes, each image beside its Grad-CAM for the wrong class:
    one picture per mistake, and a contact sheet."""
    images = read_array(inputs_path("test", "images"), rows=len(test), ndim=4)
    starts = (
        images
        if input_kind == "images"
        else read_array(inputs_path("test", "cut"), rows=len(test), ndim=4)
    )
    rows = most_confident_mistakes(test["label"].to_numpy(), predictions, most)
    heats = heat_maps(explained, starts, rows, predictions[rows].argmax(axis=1))
    pairs = [
        side_by_side(images[row], overlay(images[row], heat))
        for row, heat in zip(rows, heats, strict=True)
    ]
    table = prediction_table(test.iloc[rows], predictions[rows], names)
    table.insert(0, "file", write_pictures(MISTAKES / name, pairs))
    write_table(MISTAKES / f"{name}.csv", table)
    n_wrong = int((predictions.argmax(axis=1) != test["label"]).sum())
    shown = f", the {len(rows)} surest" if len(rows) < n_wrong else ""
    draw_mistakes(
        PLOTS / "mistakes" / f"{name}.png",
        f"{name}: {n_wrong} of {len(test)} wrong{shown}",
        pairs,
        table,
    )


def write_empty_results(name: str) -> None:
    """Write the metrics and plot files of a skipped model, without values, so that DVC does not
    report a missing file for each plot."""
    write_json(METRICS / f"{name}.json", {})
    for folder, columns in CURVES.items():
        write_table(PLOTS / folder / f"{name}.csv", pd.DataFrame(columns=columns))


def write_table(path: Path, table: pd.DataFrame) -> None:
    write_csv(path, list(table.columns), table.itertuples(index=False))


if __name__ == "__main__":
    run_stage(main)
