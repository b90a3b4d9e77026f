"""A trained model with all that it needs, loaded once: image files or pixels in, predictions out.

The only steps between a file and its prediction are those of the stages `decode`, `extract` and
`evaluate`, in the same precision, so a test image gets the very probability that
`plots/predictions/` has.
"""

import threading
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from itertools import islice
from pathlib import Path

import numpy as np
import yaml
from PIL import Image
from pydantic import NonNegativeInt, PositiveInt

from transfer.backbones.registry import BackboneParams
from transfer.classifiers.saved import (
    MODELS,
    Classifier,
    is_skipped,
    load_classifier,
    probabilities,
)
from transfer.classifiers.temperatures import read_temperature
from transfer.compute.device import has_accelerator, is_single_threaded
from transfer.compute.keras import keras
from transfer.compute.params import ComputeParams
from transfer.features.frozen_network import (
    ExtractParams,
    FrozenNetwork,
    choose_runtime,
    load_network,
)
from transfer.features.pooling import pool
from transfer.inference.novelty import Novelty, load_novelty
from transfer.inference.predictions import Prediction, PredictionRow
from transfer.runtime.cores import map_in_order
from transfer.runtime.dvc_files import LOCK, PARAMS
from transfer.runtime.errors import PipelineError
from transfer.runtime.params import load_param, load_params
from transfer.sources.decoding import BadImageError, read_rgb, resize
from transfer.sources.source_file import SourceFile

# With 12 images a dense layer's rows depend on their place in the batch, with 16, 24, 48, 64 and
# 256 they do not and are the same bits (measured for 123 heads).
CLASSIFIED = 24
NOT_FINITE = "the network gives it no finite number; see extract.dtype and compute.precision"
# What decides how images become activations: stage, key in params.yaml.
_DECISIVE = (
    ("decode", "decode"),
    ("extract", "backbone"),
    ("extract", "extract.dtype"),
    ("extract", "compute.precision"),
)


class Predictor:
    """Predicts up to `batch` images at a time; safe to be called by several threads."""

    def __init__(
        self,
        classifier: Classifier,
        network: FrozenNetwork,
        temperature: float,
        storage: str,
        interpolation: str,
        novelty: Novelty | None,
        batch: int,
    ):
        self.class_names = classifier.class_names
        self.image_size = network.image_shape[0]
        self.batch = batch
        self.classifier, self.novelty = classifier, novelty
        self._temperature, self._storage, self._interpolation = temperature, storage, interpolation
        self._network = None if classifier.input_kind == "images" and novelty is None else network
        # Keras's other backends spread one call over all cores, and nothing promises that two calls
        # at once are safe there.
        self._turn = nullcontext() if is_single_threaded() else threading.Lock()
        # traced once, before threads share it
        self.predict(np.zeros((1, self.image_size, self.image_size, 3), np.uint8))

    def decode(self, content: bytes) -> np.ndarray:
        """An image file's bytes as `decode` has them, uint8 (image_size, image_size, 3);
        BadImageError where they are no image."""
        return self.shrink(read_rgb(content))

    def shrink(self, image: Image.Image) -> np.ndarray:
        """An RGB image of any size as the network takes it, uint8 (image_size, image_size, 3)."""
        return resize(image, self.image_size, self._interpolation)

    def predict(self, images: np.ndarray) -> list[Prediction]:
        """Predict uint8 (B, image_size, image_size, 3), B from 1 to `batch`."""
        return self.predict_test_split(self.activations(images))

    def predict_test_split(self, activations: dict[str, np.ndarray]) -> list[Prediction]:
        """Predict images by what `activations` has made of them."""
        n = len(activations[self.classifier.input_kind])
        taken = np.zeros((self.batch, *self.classifier.model.input_shape[1:]), np.float32)
        taken[:n] = activations[self.classifier.input_kind]
        with self._turn:
            logits = keras.ops.convert_to_numpy(self.classifier.model.predict_on_batch(taken))[:n]
        with np.errstate(invalid="ignore", over="ignore"):
            chances = probabilities(logits / self._temperature)
            for name in activations:  # a dense layer may make a number even of these
                chances[~np.isfinite(activations[name]).all(axis=(1, 2, 3))] = np.nan
            if self.novelty is None:
                return [Prediction(each) for each in chances]
            distances = self.novelty.distances(pool(activations["cut"]))
        percentiles = self.novelty.percentiles(distances)
        return [
            Prediction(*each)
            for each in zip(chances, distances.tolist(), percentiles.tolist(), strict=True)
        ]

    def activations(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """The images and what the frozen layers make of them, in the precision in which `extract`
        keeps it: (B, h, w, C) by name."""
        if self._network is None:
            return {"images": images}
        with np.errstate(over="ignore"):
            cut, features = (
                output.astype(self._storage, copy=False) for output in self._network(images)
            )
        return {"images": images, "cut": cut, "features": features}

    def stream(self, entries: Iterable[SourceFile]) -> Iterator[PredictionRow]:
        """Predict image files as they come, in their order: a row each, whatever the file is.

        Files are decoded by threads, one a core, and only as far ahead as keeps these busy: how
        many files there are does not matter to memory. A row depends on its image alone, not on its
        neighbours.
        """
        decoded = map_in_order(self._look, entries)
        batches = iter(lambda: list(islice(decoded, self.batch)), [])
        alone = not is_single_threaded() if self._network is None else self._network.uses_all_cores
        rows = (
            map(self._predict_looked_at, batches)
            if alone
            else map_in_order(self._predict_looked_at, batches)
        )
        for batch in rows:
            yield from batch

    def _look(self, entry: SourceFile) -> tuple[str, np.ndarray | None, str | None]:
        if entry.problem is not None:
            return entry.path, None, entry.problem
        try:
            return entry.path, self.decode(entry.content), None
        except BadImageError as problem:
            return entry.path, None, str(problem)

    def _predict_looked_at(
        self, looked_at: list[tuple[str, np.ndarray | None, str | None]]
    ) -> list[PredictionRow]:
        images = [pixels for _, pixels, _ in looked_at if pixels is not None]
        predictions = iter(self.predict(np.stack(images)) if images else ())
        return [
            PredictionRow(path, None, problem) if pixels is None else _row(path, next(predictions))
            for path, pixels, problem in looked_at
        ]


def _row(path: str, prediction: Prediction) -> PredictionRow:
    if np.isfinite(prediction.probabilities).all():
        return PredictionRow(path, prediction)
    return PredictionRow(path, None, NOT_FINITE)


def load_predictor(name: str, interpolation: str, *, with_novelty: bool) -> Predictor:
    """The model `models/NAME`, with its temperature, the backbone of params.yaml, and what novelty
    is measured by.

    Args:
        interpolation: `decode.interpolation`.

    Raises:
        PipelineError: a file is missing or damaged, the files do not belong together, or
            params.yaml is not what they were made with.
    """
    architecture, extract = (
        load_params(BackboneParams, "backbone"),
        load_params(ExtractParams, "extract"),
    )
    classifier, temperature = load_known(name), read_temperature(name)
    check_params()
    runtime = choose_runtime(architecture, load_params(ComputeParams, "compute"))
    network = load_network(runtime, architecture, extract.batch_size)
    computed = {
        "images": network.image_shape,
        "cut": network.cut_shape,
        "features": network.features_shape,
    }
    if (taken := classifier.model.input_shape[1:]) != (given := computed[classifier.input_kind]):
        raise PipelineError(
            f"models/{name} takes {classifier.input_kind} of shape {taken}, the backbone of "
            f"params.yaml gives {given}; run `dvc repro`"
        )
    novelty = (
        load_novelty(
            load_param(PositiveInt, "audit.neighbours"), load_param(NonNegativeInt, "audit.seed")
        )
        if with_novelty
        else None
    )
    if novelty is not None and novelty.vectors.shape[1] != network.cut_shape[-1]:
        raise PipelineError(
            f"data/features are of another backbone than {architecture.name} in params.yaml; run "
            "`dvc repro`"
        )
    batch = extract.batch_size if has_accelerator() else CLASSIFIED
    return Predictor(classifier, network, temperature, extract.dtype, interpolation, novelty, batch)


def load_known(name: str) -> Classifier:
    """`load_classifier`, and for a name that there is not, a list of those that there are."""
    known = sorted(
        path.stem
        for path in MODELS.glob("*.json")
        if path.with_suffix(".weights.h5").exists() and not is_skipped(path.stem)
    )
    if known and name not in known:
        raise PipelineError(f"no model {name!r} in {MODELS}/; there are {', '.join(known)}")
    return load_classifier(name)


def check_params(params: Path = PARAMS, lock: Path = LOCK) -> None:
    """See that params.yaml makes activations of images as it did when the models were trained;
    passed over without a dvc.lock.

    Raises:
        PipelineError: a parameter has changed since. The model would answer all the same, and
            wrongly.
    """
    if not lock.exists() or not params.exists():
        return
    try:
        stages = yaml.safe_load(lock.read_text(encoding="utf-8"))["stages"]
        made = {
            key: stages.get(stage, {}).get("params", {}).get(PARAMS.name, {})
            for stage, key in _DECISIVE
        }
    except (yaml.YAMLError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise PipelineError(
            f"{lock} is damaged ({type(error).__name__}); restore it from git"
        ) from None
    now = yaml.safe_load(params.read_text(encoding="utf-8"))
    for key, sections in made.items():
        section, _, only = key.partition(".")
        then = sections.get(section, {})
        for name in {only} & {*then} if only else then:
            if then[name] != now[section].get(name):
                raise PipelineError(
                    f"{params}: {section}.{name} = {now[section].get(name)!r}, and the models "
                    f"were made with {then[name]!r} (dvc.lock); run `dvc repro`, or set it back"
                )
