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
from transfer.evaluation.gradcam import overlay
from transfer.features.frozen_network import choose_runtime
from transfer.runtime.errors import PipelineError
from transfer.storage.array_paths import inputs_path
from transfer.storage.arrays import inference_batch_rows, read_array, take
from transfer.storage.params import Shards
from transfer.storage.sharded_array import ShardedArray

ReadInputs = Callable[[str], np.ndarray | ShardedArray]  # an array of the scored split, by its kind


@dataclass(frozen=True)
class Judged:
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
    explain: Callable[[np.ndarray, np.ndarray], Sequence[np.ndarray]]


def load_judged(
    name: str,
    manifest: pd.DataFrame,
    scored: ReadInputs,
    shards: Shards,
    architecture: BackboneParams,
    compute: ComputeParams,
) -> Judged:
    """The trained model `name`.

    Args:
        scored: reads an array of the scored split.

    Raises:
        PipelineError: the model is missing, damaged, or of other training images.
    """
    if name == NEIGHBOURS:
        return load_nearest(manifest, scored, shards)
    return load_network(name, architecture, compute, scored)


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
