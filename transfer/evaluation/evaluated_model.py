"""Trained models as `evaluate` sees them: what gives their logits, and what shows the reasons for a
class."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from transfer.backbones.registry import BackboneParams
from transfer.classifiers.converted import CannotConvertError
from transfer.classifiers.loading import load_without_keras
from transfer.classifiers.names import NEIGHBOURS
from transfer.classifiers.neighbours import Neighbours, load_neighbours
from transfer.compute.params import ComputeParams
from transfer.dataset.manifest import labels_of
from transfer.evaluation.gradcam import GradCam, overlay
from transfer.features.frozen_network import choose_runtime
from transfer.runtime.errors import PipelineError
from transfer.storage.array_paths import inputs_path
from transfer.storage.arrays import inference_batch_rows, read_array, take
from transfer.storage.params import Shards
from transfer.storage.sharded_array import ShardedArray

Explain = Callable[[np.ndarray, np.ndarray], Sequence[np.ndarray]]
ReadInputs = Callable[[str], np.ndarray | ShardedArray]  # an array of the scored split, by its kind


@dataclass(frozen=True)
class EvaluatedModel:
    """A trained model as `evaluate` sees it, a network or the nearest neighbours.

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
    explain: Explain


def load_evaluated_model(
    name: str,
    manifest: pd.DataFrame,
    scored: ReadInputs,
    shards: Shards,
    architecture: BackboneParams,
    compute: ComputeParams,
) -> EvaluatedModel:
    """The trained model `name`.

    Args:
        scored: reads an array of the scored split.

    Raises:
        PipelineError: the model is missing, damaged, or of other training images.
    """
    if name == NEIGHBOURS:
        return load_nearest(manifest, scored, shards)
    return load_network(name, architecture, compute, scored)


def load_nearest(manifest: pd.DataFrame, scored: ReadInputs, shards: Shards) -> EvaluatedModel:
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
    return EvaluatedModel(
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
) -> EvaluatedModel:
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

    def gradcam() -> GradCam:
        # LiteRT need not be installed where Keras computes the model
        from transfer.evaluation.litert_gradcam import LiteRTGradCam

        return LiteRTGradCam(name, classifier, architecture)

    return EvaluatedModel(
        name,
        classifier.input_kind,
        classifier.class_names,
        logits,
        heat_over_images(gradcam, scored),
    )


def load_on_keras(
    name: str, architecture: BackboneParams, compute: ComputeParams, scored: ReadInputs
) -> EvaluatedModel:
    """A network or the probe on Keras's backend, for logits and Grad-CAM."""
    from transfer.classifiers.saved import load_classifier, predict_logits
    from transfer.compute.device import configure_backend
    from transfer.evaluation.keras_gradcam import KerasGradCam

    configure_backend(compute, seed=0, threads=compute.threads)
    classifier = load_classifier(name)
    return EvaluatedModel(
        name,
        classifier.input_kind,
        classifier.class_names,
        lambda inputs: predict_logits(classifier.model, inputs),
        heat_over_images(lambda: KerasGradCam(classifier, architecture), scored),
    )


def heat_over_images(load_gradcam: Callable[[], GradCam], scored: ReadInputs) -> Explain:
    """What shows the heat maps of Grad-CAM over the images; it is loaded when it is asked for
    pictures."""

    def explain(rows: np.ndarray, labels: np.ndarray) -> list[np.ndarray]:
        gradcam = load_gradcam()
        images, starts = (take(scored(kind), rows) for kind in ("images", gradcam.start))
        heats = gradcam.heat_maps(starts, labels)
        return [overlay(image, heat) for image, heat in zip(images, heats, strict=True)]

    return explain
