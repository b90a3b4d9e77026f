"""Evaluate one model on the test split, or on validation if there are no test images; nothing is
selected here.

python -m stages.evaluate head
"""

import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import PositiveInt

from transfer.backbones.registry import BackboneParams
from transfer.classifiers.converted import CannotConvertError
from transfer.classifiers.loading import load_without_keras
from transfer.classifiers.names import BASELINES, EVALUATION, MODEL_NAMES, NEIGHBOURS, is_skipped
from transfer.classifiers.neighbours import Neighbours, load_neighbours
from transfer.classifiers.probabilities import probabilities
from transfer.classifiers.temperatures import calibration_file
from transfer.compute.params import ComputeParams
from transfer.dataset.examples import Examples, read_examples
from transfer.dataset.manifest import class_names, labels_of, read_manifest, split_rows
from transfer.dataset.scored_split import TEST, scored_split, split_field, title_note
from transfer.evaluation.calibration import (
    Calibration,
    choose_threshold,
    class_logits,
    fit_temperature,
)
from transfer.evaluation.gradcam import overlay
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
from transfer.features.frozen_network import choose_runtime
from transfer.runtime.errors import PipelineError
from transfer.runtime.files import write_json, write_table
from transfer.runtime.params import Params, load_params
from transfer.runtime.resource_params import ResourceParams
from transfer.runtime.stage import run_stage
from transfer.storage.array_paths import inputs_path
from transfer.storage.arrays import inference_batch_rows, read_array, take
from transfer.storage.params import Shards
from transfer.storage.sharded_array import ShardedArray

ReadInputs = Callable[[str], np.ndarray | ShardedArray]  # an array of the scored split, by its kind


class EvaluateParams(Params):
    """max_mistakes: misclassified images that are shown per model."""

    max_mistakes: PositiveInt


@dataclass(frozen=True)
class Judged:
    """A trained model as this stage sees it, a network or the nearest neighbours.

    Attributes:
        input_kind: `images`, `features` or `cut`, the array that it reads.
        class_names: the classes by label.
        logits: float32 (N, L) of such inputs (N, ...).
        explain: pictures uint8 (H, W, 3) of rows of the scored split, int (M,), that show what
            spoke for the classes, int (M,).
    """

    name: str
    input_kind: str
    class_names: list[str]
    logits: Callable[[np.ndarray], np.ndarray]
    explain: Callable[[np.ndarray, np.ndarray], Sequence[np.ndarray]]


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
    model = (
        load_nearest(manifest, scored, shards)
        if name == NEIGHBOURS
        else load_network(name, architecture, compute, scored)
    )
    predictions = predict_split(model, manifest, split, shards)
    write_judgement(name, predictions, rows, names, split)
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


def load_nearest(manifest: pd.DataFrame, scored: ReadInputs, shards: Shards) -> Judged:
    """The nearest neighbours; what speaks for a class is its nearest training image.

    Raises:
        PipelineError: the model is missing, damaged, or of other training images.
    """
    neighbours = load_neighbours()
    rows = len(labels_of(manifest, "train"))
    if rows != len(neighbours.labels):
        raise PipelineError(
            f"models/{NEIGHBOURS} has {len(neighbours.labels)} training images, the manifest "
            f"{rows}; run `dvc repro`"
        )
    return Judged(
        NEIGHBOURS,
        neighbours.input_kind,
        neighbours.class_names,
        neighbours.logits,
        lambda tested, labels: nearest_images(
            neighbours,
            read_array(inputs_path("train", "images"), shards, rows=rows, ndim=4),
            take(scored("features"), tested),
            labels,
        ),
    )


def nearest_images(
    neighbours: Neighbours, images: np.ndarray, features: np.ndarray, labels: np.ndarray
) -> list[np.ndarray]:
    """Of each class, the training image that is nearest to a scored image.

    Args:
        images: the training images, uint8 (N, H, W, 3).
        features: of the scored images, (M, h, w, C).
        labels: of the classes, int (M,).
    """
    return [
        images[neighbours.nearest_of_class(each, label)]
        for each, label in zip(features, labels, strict=True)
    ]


def load_network(
    name: str, architecture: BackboneParams, compute: ComputeParams, scored: ReadInputs
) -> Judged:
    """A network or the probe, as `predict` computes it; Grad-CAM shows what speaks for a class.

    On a CPU LiteRT and NumPy compute both. On an accelerator, and where LiteRT cannot run the model
    or the frozen network, Keras's backend does.
    """
    runtime = choose_runtime(architecture, compute)
    try:
        classifier = load_without_keras(name, compute, frozen_on_keras=runtime == "keras")
    except CannotConvertError as reason:
        print(f"{name} is computed by Keras, not by LiteRT: {reason}", file=sys.stderr, flush=True)
        return load_on_keras(name, architecture, compute, scored)

    def logits(inputs: np.ndarray) -> np.ndarray:
        step = inference_batch_rows(inputs.shape[1:])
        starts = range(0, len(inputs), step)
        return np.concatenate(
            [classifier.logits(take(inputs, slice(start, start + step))) for start in starts]
        )

    if runtime == "keras":
        return replace(load_on_keras(name, architecture, compute, scored), logits=logits)

    def explain(rows: np.ndarray, labels: np.ndarray) -> list[np.ndarray]:
        # LiteRT need not be installed where Keras computes the model
        from transfer.evaluation.litert_gradcam import LiteRTGradCam

        gradcam = LiteRTGradCam(name, classifier, architecture)
        images, starts = (take(scored(each), rows) for each in ("images", gradcam.start))
        heats = gradcam.heat_maps(starts, labels)
        return [overlay(image, heat) for image, heat in zip(images, heats, strict=True)]

    return Judged(name, classifier.input_kind, classifier.class_names, logits, explain)


def load_on_keras(
    name: str, architecture: BackboneParams, compute: ComputeParams, scored: ReadInputs
) -> Judged:
    """A network or the probe on Keras's backend, for logits and Grad-CAM."""
    from transfer.backbones.network import load_backbone
    from transfer.classifiers.saved import load_classifier, predict_logits
    from transfer.compute.device import configure_backend
    from transfer.evaluation.keras_gradcam import heat_maps, split_at_maps

    configure_backend(compute, seed=0, threads=compute.threads)
    classifier = load_classifier(name)
    kind = classifier.input_kind

    def explain(rows: np.ndarray, labels: np.ndarray) -> list[np.ndarray]:
        # in front of a model that takes features, Grad-CAM needs the backbone's layers
        backbone = load_backbone(architecture) if kind == "features" else None
        halves = split_at_maps(classifier.model, kind, backbone, architecture.unfreeze_from)
        images, cut = (scored(each) for each in ("images", "cut"))
        heats = heat_maps(halves, images if kind == "images" else cut, rows, labels)
        return [overlay(images[row], heat) for row, heat in zip(rows, heats, strict=True)]

    return Judged(
        name,
        kind,
        classifier.class_names,
        lambda inputs: predict_logits(classifier.model, inputs),
        explain,
    )


def predict_split(
    model: Judged, manifest: pd.DataFrame, split: str, shards: Shards
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


def calibrate(model: Judged, validation: Examples) -> Calibration:
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


def logits_of(model: Judged, examples: Examples) -> np.ndarray:
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


def write_judgement(
    name: str, model: SplitPredictions, rows: pd.DataFrame, names: list[str], split: str
) -> None:
    """Write a model's calibration, scores, predictions and curves.

    Args:
        rows: the manifest's rows of the scored split.
        names: of the classes, by label.
        split: the scored split, which scores and tables name unless it is the test split.
    """
    folder, labels, field = EVALUATION / name, rows["label"].to_numpy(), split_field(split)
    write_json(calibration_file(name), model.calibration.to_dict())
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
    model: Judged,
    images: np.ndarray,
    predictions: np.ndarray,
    scored: pd.DataFrame,
    most: int,
    split: str,
) -> None:
    """Write a model's most confident mistakes, each image beside what spoke for the wrong class:
    one picture per mistake, and a contact sheet.

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
    shown = f", the {len(rows)} surest" if len(rows) < n_wrong else ""
    draw_mistakes(
        folder / "mistakes.png",
        f"{model.name}{title_note(split)}: {n_wrong} of {len(scored)} wrong{shown}",
        pairs,
        table,
        model.class_names,
    )


if __name__ == "__main__":
    run_stage(main, MODEL_NAMES)
