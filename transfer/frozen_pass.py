"""Batches of images through the frozen part of the network: what a worker does, in this process or on a cluster."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import PositiveInt

from transfer.backbone import LAYERS, WEIGHTS, load_backbone, with_preprocessing
from transfer.backbones import BackboneParams
from transfer.compute import images_at_once, pass_batch, set_up, takes_one_core
from transfer.compute_params import ComputeParams
from transfer.errors import PipelineError
from transfer.lean import keras
from transfer.params import Params
from transfer.rows import content_key


class ExtractParams(Params):
    batch_size: PositiveInt
    storage: Literal["float32", "float16"]


class About(NamedTuple):
    """identity: 32 bytes, see `identify`. layout: of a row. size: images a batch, at most."""

    identity: bytes
    layout: np.dtype
    size: int


@dataclass(frozen=True)
class FrozenWork:
    """draw: makes the pixels (H, W, 3), 0..255, of what is sent for an image."""

    architecture: BackboneParams
    extract: ExtractParams
    compute: ComputeParams
    draw: Callable[[Any], np.ndarray]

    @property
    def files(self) -> tuple[Path, ...]:
        return tuple(file for file in (WEIGHTS, LAYERS) if file.exists())

    @property
    def needs_gpu(self) -> bool:
        return self.compute.device == "gpu"

    def start(self) -> "FrozenPass":
        set_up(self.compute, seed=0)
        frozen = with_preprocessing(load_backbone(self.architecture), self.architecture)
        return FrozenPass(frozen, self.extract, self.draw)


class FrozenPass:
    """A call takes what is sent for some images and gives rows of `about.layout`: activations at the cut, and features.

    Args:
        frozen: from `with_preprocessing`, images -> [activations at the cut, features].
    """

    def __init__(self, frozen: keras.Model, params: ExtractParams, draw: Callable[[Any], np.ndarray]):
        self._frozen, self._draw = frozen, draw
        cut_shape, features_shape = (shape[1:] for shape in frozen.output_shape)
        layout = np.dtype([("cut", params.storage, cut_shape), ("features", params.storage, features_shape)])
        size = images_at_once(params.batch_size)
        self.about = About(identify(frozen, params), layout, size)  # which traces the network too, before threads share it
        self.uses_all_cores = not takes_one_core()

    def __call__(self, sent: Sequence) -> np.ndarray:
        outputs = pass_batch(self._frozen, [self._draw(each) for each in sent], self.about.size)
        return _pack(self.about.layout, *outputs)


def identify(frozen: keras.Model, params: ExtractParams) -> bytes:
    """32 bytes that are other whenever a network would compute other rows.

    Its weights, and what comes out for a picture of noise: that tells apart whatever else decides the last bits, be it
    preprocessing, precision, a library's version or the processor.
    """
    noise = np.random.default_rng(0).integers(0, 256, (1, *frozen.input_shape[1:]), dtype=np.uint8)
    outputs = pass_batch(frozen, noise, images_at_once(params.batch_size))
    weights = (np.ascontiguousarray(keras.ops.convert_to_numpy(weight)).tobytes() for weight in frozen.weights)
    return content_key(params.storage.encode(), *weights, *(output.tobytes() for output in outputs))


def _pack(layout: np.dtype, cut: np.ndarray, features: np.ndarray) -> np.ndarray:
    """Rows of the layout (b,); refused where its type cannot hold a value."""
    content = np.zeros(len(cut), layout)
    with np.errstate(over="ignore"):
        content["cut"], content["features"] = cut, features
    for name, computed in (("cut", cut), ("features", features)):
        if not np.isfinite(computed).all():
            raise PipelineError(f"the network computes infinite or undefined activations ({name}); check the weights and compute.precision")
        if not np.isfinite(content[name]).all():
            raise PipelineError(f"an activation is {np.abs(computed).max():g}, beyond extract.storage = {content[name].dtype}; use float32")
    return content
