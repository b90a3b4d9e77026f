"""A trained model with all that it needs, loaded once: image files or pixels in, predictions out.

The steps from a file to its prediction are those of the stages `decode`, `extract` and `evaluate`,
in the same precision. On a CPU LiteRT computes them, and neither Keras nor its backend is imported.
"""

import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Protocol

import numpy as np
from PIL import Image
from pydantic import NonNegativeInt, PositiveInt

from transfer.backbones.registry import BackboneParams
from transfer.classifiers.converted import CannotConvertError
from transfer.classifiers.description import read_description
from transfer.classifiers.loading import load_without_keras
from transfer.classifiers.names import (
    EVALUATION,
    MODEL_NAMES,
    MODELS,
    description_file,
    is_skipped,
    weights_file,
)
from transfer.classifiers.probabilities import probabilities
from transfer.classifiers.temperatures import read_temperature
from transfer.compute.params import ComputeParams
from transfer.decoding.rgb import (
    BadImageError,
    DecodeParams,
    load_pixel_rules,
    memory_for,
    read_rgb,
    resize,
)
from transfer.decoding.value_ranges import PixelRules
from transfer.features.frozen_network import (
    ExtractParams,
    FrozenNetwork,
    Runtime,
    choose_runtime,
    load_network,
)
from transfer.features.pooling import pool
from transfer.inference.novelty import Novelty, load_novelty
from transfer.inference.predictions import Prediction, PredictionRow
from transfer.runtime.cores import map_in_order
from transfer.runtime.dvc_files import locked_stages
from transfer.runtime.errors import PipelineError
from transfer.runtime.params import PARAMS_FILE, load_param, load_params, read_params
from transfer.runtime.resource_params import ResourceParams
from transfer.sources.source_file import SourceFile
from transfer.storage.params import Shards

NOT_FINITE = "the network gives it no finite number; see extract.dtype and compute.precision"
# What decides how images become activations: stage, key in params.yaml.
_DECISIVE = (
    ("decode", "decode"),
    ("extract", "backbone"),
    ("extract", "extract.dtype"),
    ("extract", "compute.precision"),
)


class LoadedClassifier(Protocol):
    """A trained classifier that is ready to be called, on LiteRT or on Keras's backend.

    Attributes:
        input_kind: `images`, `features` or `cut`, the array that it reads.
        input_shape: of one row of that array.
        class_names: the classes by label.
        batch_size: the number of rows per call; None if no byte depends on it.
        uses_all_cores: whether a single call does, so that calls need not be spread over threads.
    """

    input_kind: str
    input_shape: tuple[int, ...]
    class_names: list[str]
    batch_size: int | None
    uses_all_cores: bool

    def logits(self, inputs: np.ndarray) -> np.ndarray:
        """Logits float32 (N, L) of inputs (N, *input_shape)."""


class Predictor:
    """Predicts images, most efficiently `batch_size` at a time; several threads may call it at
    once."""

    def __init__(
        self,
        classifier: LoadedClassifier,
        network: FrozenNetwork,
        temperature: float,
        storage: str,
        interpolation: str,
        novelty: Novelty | None,
        rules: PixelRules | None = None,
    ):
        """
        Args:
            temperature: the number by which logits are divided.
            storage: the type in which `extract` keeps activations, float32 or float16.
            interpolation: `decode.interpolation`.
            novelty: None leaves distances and percentiles out.
            rules: how samples become 8-bit RGB; None is the rules of 8-bit images.
        """
        self.class_names = classifier.class_names
        self.image_size = network.image_shape[0]
        self.batch_size = classifier.batch_size or network.batch_size
        self.classifier, self.novelty = classifier, novelty
        self._temperature, self._storage, self._interpolation = temperature, storage, interpolation
        self._rules = rules
        self._network = None if classifier.input_kind == "images" and novelty is None else network

    def decode(self, content: bytes) -> np.ndarray:
        """Decode and resize an image file's bytes as the stage `decode` does: uint8 (image_size,
        image_size, 3).

        Raises:
            BadImageError: these bytes are not an image.
        """
        with memory_for(content):
            return self.shrink(self.open(content))

    def open(self, content: bytes) -> Image.Image:
        """An image file's bytes as 8-bit RGB, by the rules of the training images."""
        return read_rgb(content, self._rules)

    def shrink(self, image: Image.Image) -> np.ndarray:
        """Resize an RGB image of any size to what the network takes, uint8 (image_size, image_size,
        3)."""
        return resize(image, self.image_size, self._interpolation)

    def predict(self, images: np.ndarray) -> list[Prediction]:
        """One prediction per image, uint8 (B, image_size, image_size, 3)."""
        return self.predict_activations(self.activations(images))

    def predict_activations(self, activations: dict[str, np.ndarray]) -> list[Prediction]:
        """One prediction per image, from what `activations` returned for the images."""
        logits = self.classifier.logits(activations[self.classifier.input_kind])
        with np.errstate(invalid="ignore", over="ignore"):
            chances = probabilities(logits / self._temperature)
            for name in activations:  # a dense layer may turn infinity and NaN into numbers
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
        """The images and their activations in the frozen layers, (B, h, w, C) each, by name:
        `images`, `cut` and `features`, in the type in which `extract` keeps them."""
        if self._network is None:
            return {"images": images}
        with np.errstate(over="ignore"):
            cut, features = (
                output.astype(self._storage, copy=False) for output in self._network(images)
            )
        return {"images": images, "cut": cut, "features": features}

    def stream(self, entries: Iterable[SourceFile]) -> Iterator[PredictionRow]:
        """Predict image files as they come, one row per file in their order, whatever the file is.

        Files are decoded by threads, one per core, and only as far ahead as keeps these busy, so
        that memory does not grow with the number of files. A row depends on its image only.
        """
        decoded = map_in_order(self.decode_file, entries)
        batches = iter(lambda: list(islice(decoded, self.batch_size)), [])
        one_at_a_time = (self._network or self.classifier).uses_all_cores
        rows = (
            map(self._predict_batch, batches)
            if one_at_a_time
            else map_in_order(self._predict_batch, batches)
        )
        for batch in rows:
            yield from batch

    def decode_file(self, entry: SourceFile) -> tuple[str, np.ndarray | None, str | None]:
        """A file's path with its pixels, as `decode` returns them, or with the reason why there are
        none."""
        if entry.problem is not None:
            return entry.path, None, entry.problem
        try:
            return entry.path, self.decode(entry.content), None
        except BadImageError as problem:
            return entry.path, None, str(problem)

    def _predict_batch(
        self, decoded: list[tuple[str, np.ndarray | None, str | None]]
    ) -> list[PredictionRow]:
        images = [pixels for _, pixels, _ in decoded if pixels is not None]
        predictions = iter(self.predict(np.stack(images)) if images else ())
        return [
            PredictionRow(path, None, problem) if pixels is None else _row(path, next(predictions))
            for path, pixels, problem in decoded
        ]


def _row(path: str, prediction: Prediction) -> PredictionRow:
    if np.isfinite(prediction.probabilities).all():
        return PredictionRow(path, prediction)
    return PredictionRow(path, None, NOT_FINITE)


def load_predictor(name: str, *, with_novelty: bool) -> Predictor:
    """Load the model `models/NAME`, its temperature, the backbone of params.yaml, and the training
    images' activations that novelty is measured with.

    Args:
        with_novelty: whether distances and percentiles are predicted too.

    Raises:
        PipelineError: a file is missing or damaged, the files do not belong together, or
            params.yaml is not what they were made with.
    """
    architecture, decode, extract, compute = (
        load_params(BackboneParams, "backbone"),
        load_params(DecodeParams, "decode"),
        load_params(ExtractParams, "extract"),
        load_params(ComputeParams, "compute"),
    )
    check_name(name)
    temperature = read_temperature(name)
    stages = locked_stages()
    check_params(read_params(), stages)
    check_calibration(name, stages)
    runtime = choose_runtime(architecture, compute)
    if runtime == "keras":
        configure_keras(compute)
    network = load_network(runtime, architecture, extract.batch_size)
    classifier = load_model(name, runtime, compute, network.batch_size)
    computed = {
        "images": network.image_shape,
        "cut": network.cut_shape,
        "features": network.features_shape,
    }
    if (taken := classifier.input_shape) != (given := tuple(computed[classifier.input_kind])):
        raise PipelineError(
            f"models/{name} takes {classifier.input_kind} of shape {taken}, the backbone of "
            f"params.yaml gives {given}; run `dvc repro`"
        )
    novelty = (
        load_novelty(
            load_param(PositiveInt, "audit.neighbours"),
            load_param(NonNegativeInt, "audit.seed"),
            Shards(load_params(ResourceParams, "resources").shards_url),
        )
        if with_novelty
        else None
    )
    if novelty is not None and novelty.vectors.shape[1] != network.cut_shape[-1]:
        raise PipelineError(
            f"data/features are of another backbone than {architecture.name} in params.yaml; run "
            "`dvc repro`"
        )
    return Predictor(
        classifier,
        network,
        temperature,
        extract.dtype,
        decode.interpolation,
        novelty,
        load_pixel_rules(decode.background),
    )


def load_model(
    name: str, runtime: Runtime, compute: ComputeParams, batch_size: int
) -> LoadedClassifier:
    """Load the model `models/NAME` on what `evaluate` computes it with: on a CPU LiteRT; on an
    accelerator, and if LiteRT cannot run the model, Keras's backend; the baselines on NumPy.

    Prints one line that says why Keras computes on a CPU. Keras's backend is set up if it computes
    the model and not the frozen network.

    Args:
        runtime: of the frozen network; with "keras" the backend is set up already.
        batch_size: rows that an accelerator gets at a time.

    Raises:
        PipelineError: the model is missing, skipped or damaged.
    """
    try:
        return load_without_keras(name, compute, frozen_on_keras=runtime == "keras")
    except CannotConvertError as reason:
        if runtime == "litert":
            print(
                f"the model is computed by Keras's backend, not by LiteRT: {reason}",
                file=sys.stderr,
                flush=True,
            )
            configure_keras(compute)
    # TensorFlow takes seconds, and LiteRT needs none of it.
    from transfer.classifiers.keras_classifier import KerasClassifier
    from transfer.classifiers.saved import load_classifier

    return KerasClassifier(load_classifier(name), batch_size)


def configure_keras(compute: ComputeParams) -> None:
    """Load Keras and set up its backend."""
    from transfer.compute.device import configure_backend

    configure_backend(compute, seed=0)


def check_name(name: str) -> None:
    """Check that there is a model of this name before loading takes seconds.

    Raises:
        PipelineError: its files are missing or damaged, or there are only others, which the message
            names.
    """
    known = sorted(
        each
        for each in MODEL_NAMES
        if description_file(each).exists() and weights_file(each).exists() and not is_skipped(each)
    )
    if known and name not in known:
        raise PipelineError(f"no model {name!r} in {MODELS}/; there are {', '.join(known)}")
    read_description(name)


def check_params(now: dict[str, dict], stages: dict[str, dict]) -> None:
    """Check that params.yaml turns images into the same activations as when the models were
    trained.

    Args:
        now: the sections of params.yaml.
        stages: from `locked_stages`; without any nothing is checked.

    Raises:
        PipelineError: a parameter has changed since then. The model would still answer, but
            wrongly.
    """
    for stage, key in _DECISIVE:
        section, _, only = key.partition(".")
        sections = stages.get(stage, {}).get("params", {}).get(PARAMS_FILE.name, {})
        then = sections.get(section, {})
        for name in {only} & {*then} if only else then:
            if then[name] != now[section].get(name):
                raise PipelineError(
                    f"{PARAMS_FILE}: {section}.{name} = {now[section].get(name)!r}, and the models "
                    f"were made with {then[name]!r} (dvc.lock); run `dvc repro`, or set it back"
                )


def check_calibration(name: str, stages: dict[str, dict]) -> None:
    """Check that the temperature was chosen for the model `models/NAME` that there is now.

    Args:
        stages: from `locked_stages`.

    Raises:
        PipelineError: the model was trained again since then; the probabilities would be wrong.
    """
    model, evaluate = f"{MODELS}/{name}", f"evaluate@{name}"
    made = _checksum((out for stage in stages.values() for out in stage.get("outs", [])), model)
    evaluated = _checksum(stages.get(evaluate, {}).get("deps", []), model)
    if None not in (made, evaluated) and made != evaluated:
        raise PipelineError(
            f"{EVALUATION}/{name} is of an earlier {model} (dvc.lock), and calibrates its "
            f"probabilities; run `dvc repro {evaluate}`"
        )


def _checksum(listed: Iterable[dict], path: str) -> str | None:
    """The checksum of a path among what dvc.lock lists; None if it is not there."""
    return next((each["md5"] for each in listed if each["path"] == path), None)
