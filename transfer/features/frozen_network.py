"""Sends batches of images through the frozen part of the network: the work of a worker, in this
process or on a cluster."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from pydantic import PositiveInt

from transfer.backbones.converted import NETWORK, RECORD, read_converted, read_network
from transfer.backbones.registry import LAYERS, WEIGHTS, BackboneParams
from transfer.compute.accelerators import may_have_accelerator
from transfer.compute.litert_support import why_no_litert
from transfer.compute.params import ComputeParams
from transfer.runtime.checksums import content_key
from transfer.runtime.errors import PipelineError
from transfer.runtime.params import Params
from transfer.runtime.pins import in_use

Runtime = Literal["litert", "keras"]
Shape = tuple[int, int, int]


class ExtractParams(Params):
    """The section `extract` of params.yaml, which explains each key."""

    batch_size: PositiveInt | Literal["auto"]
    dtype: Literal["float32", "float16"]


class FrozenNetwork(Protocol):
    """Pixels (H, W, 3) in 0..255 of some images -> activations at the cut, and features, (b, h, w,
    C) each.

    Attributes:
        image_shape, cut_shape, features_shape: of one image.
        batch_size: the best number of images per call.
        uses_all_cores: a single call does, so that calls need not be spread over threads.
        identity: bytes that change whenever the network would compute other rows.
    """

    image_shape: Shape
    cut_shape: Shape
    features_shape: Shape
    batch_size: int
    uses_all_cores: bool
    identity: bytes

    def __call__(self, images: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]: ...


class About(NamedTuple):
    """identity: 32 bytes that change whenever rows would. layout: of a row. size: images per batch,
    at most."""

    identity: bytes
    layout: np.dtype
    size: int


@dataclass(frozen=True)
class FrozenTask:
    """The frozen pass as a task for the workers of an engine.

    draw: makes the pixels (H, W, 3), 0..255, from the data sent for an image.
    runtime: from `choose_runtime`.
    """

    architecture: BackboneParams
    extract: ExtractParams
    compute: ComputeParams
    draw: Callable[[Any], np.ndarray]
    runtime: Runtime
    overlaps = False

    @property
    def files(self) -> tuple[Path, ...]:
        wanted = (NETWORK, RECORD) if self.runtime == "litert" else (WEIGHTS, LAYERS)
        return tuple(file for file in wanted if file.exists())

    @property
    def needs_gpu(self) -> bool:
        return self.compute.device == "gpu"

    @property
    def unused_packages(self) -> tuple[str, ...]:
        return (
            tuple(in_use(("keras", "tensorflow")))
            if self.runtime == "litert"
            else ("ai-edge-litert",)
        )

    def start(self) -> "FrozenPass":
        if self.runtime == "keras":
            from transfer.compute.device import configure_backend

            configure_backend(self.compute, seed=0)
        network = load_network(self.runtime, self.architecture, self.extract.batch_size)
        return FrozenPass(network, self.extract.dtype, self.draw)


class FrozenPass:
    """A call takes the data sent for some images and returns rows of `about.layout`: activations at
    the cut, and features."""

    def __init__(self, network: FrozenNetwork, storage: str, draw: Callable[[Any], np.ndarray]):
        self._network, self._draw = network, draw
        layout = np.dtype(
            [("cut", storage, network.cut_shape), ("features", storage, network.features_shape)]
        )
        self.about = About(
            content_key(network.identity, storage.encode()), layout, network.batch_size
        )
        self.uses_all_cores = network.uses_all_cores

    def __call__(self, sent: Sequence) -> np.ndarray:
        return _pack(self.about.layout, *self._network([self._draw(each) for each in sent]))


def choose_runtime(architecture: BackboneParams, compute: ComputeParams) -> Runtime:
    """LiteRT for a CPU, because it needs no TensorFlow and its bytes do not depend on the
    processor; otherwise Keras's backend.

    Prints one line if Keras computes on a CPU, with the reason.

    Raises:
        PipelineError: the converted network is missing, damaged or does not belong to the weights.
    """
    if compute.device == "gpu" or (
        compute.device == "auto" and may_have_accelerator() and _sees_accelerator()
    ):
        return "keras"
    converted = read_converted(architecture)
    reason = why_no_litert(compute.precision) or converted.problem
    if reason is None:
        return "litert"
    print(
        f"the frozen layers are computed by Keras's backend, not by LiteRT: {reason}",
        file=sys.stderr,
        flush=True,
    )
    return "keras"


def _sees_accelerator() -> bool:
    from transfer.compute.device import has_accelerator

    return has_accelerator()


def load_network(
    runtime: Runtime, architecture: BackboneParams, batch_size: int | Literal["auto"]
) -> FrozenNetwork:
    """The frozen network, ready to be called. With "litert" neither Keras nor its backend is
    imported; "keras" uses the backend as it is set up.

    Args:
        batch_size: images that a card is given at a time; auto: as its memory allows.

    Raises:
        PipelineError: a file is missing or damaged, or a card's memory does not hold one image.
    """
    if runtime == "litert":
        from transfer.backbones.litert_network import LiteRTNetwork

        converted = read_converted(architecture)
        try:
            return LiteRTNetwork(read_network(converted), converted.network.encode())
        except ValueError as error:
            raise PipelineError(
                f"{NETWORK}: LiteRT cannot read it ({error}); run `dvc repro --force convert`"
            ) from None
    from transfer.backbones.keras_network import start_on_backend
    from transfer.backbones.network import load_backbone, with_preprocessing

    frozen = with_preprocessing(load_backbone(architecture), architecture)
    return start_on_backend(frozen, batch_size)


def _pack(layout: np.dtype, cut: np.ndarray, features: np.ndarray) -> np.ndarray:
    """Rows of the layout (b,). Raises PipelineError if its type cannot hold a value."""
    content = np.zeros(len(cut), layout)
    with np.errstate(over="ignore"):
        content["cut"], content["features"] = cut, features
    for name, computed in (("cut", cut), ("features", features)):
        if not np.isfinite(computed).all():
            raise PipelineError(
                f"the network computes infinite or undefined activations ({name}); check the "
                "weights and compute.precision"
            )
        if not np.isfinite(content[name]).all():
            raise PipelineError(
                f"an activation is {np.abs(computed).max():g}, beyond extract.dtype = "
                f"{content[name].dtype}; use float32"
            )
    return content
