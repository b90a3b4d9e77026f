"""Obtain the pretrained backbone from the first available source; check that its weights are the
same bytes whichever source served them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Self

from pydantic import NonNegativeInt, model_validator

from transfer.backbones.hub_network import read_preset
from transfer.backbones.hub_presets import is_hub_preset
from transfer.backbones.keras_file import read_own_model
from transfer.backbones.layer_table import record_layers
from transfer.backbones.network import build_backbone
from transfer.backbones.registry import LAYERS, WEIGHTS, find_architecture, is_own_model
from transfer.backbones.weight_sources import (
    DIGESTS,
    SOURCES,
    Source,
    SourceUnavailableError,
    UserFile,
    check_digest,
    differences,
    load_first,
)
from transfer.compute.keras import keras
from transfer.runtime.errors import PipelineError
from transfer.runtime.files import write_json, write_weights
from transfer.runtime.params import Params, load_param, load_params
from transfer.runtime.stage import run_stage


class WeightsParams(Params):
    """The section `weights` of params.yaml, which explains each key."""

    source: Literal["imagenet", "random"]
    path: str | None
    sha256: str | None
    compare: bool
    seed: NonNegativeInt

    @model_validator(mode="after")
    def _nothing_is_ignored(self) -> Self:
        if self.source == "random" and (self.path is not None or self.compare):
            raise ValueError(
                "source: random takes no file and compares nothing; set path: null and compare: "
                "false"
            )
        return self


def main() -> None:
    """Obtain the pretrained backbone, check it by checksum and write it."""
    params = load_params(WeightsParams, "weights")
    name = load_param(str, "backbone.name")
    keras.utils.set_random_seed(params.seed)
    if is_hub_preset(name):
        backbone, model = hub_backbone(name, params)
    elif is_own_model(name):
        backbone, model = own_backbone(Path(name), params)
    else:
        backbone, model = published_backbone(name, params), None
    write_json(LAYERS, {"name": name, "model": model, "layers": record_layers(backbone)})
    write_weights(WEIGHTS, backbone)


def hub_backbone(name: str, params: WeightsParams) -> tuple[keras.Model, dict]:
    """A preset of KerasHub as a backbone, with its weights or with random ones, and what is
    recorded of it.

    Raises:
        PipelineError: the preset cannot be used, or `weights.path` or `weights.compare` is set as
        well.
        ModuleNotFoundError: KerasHub is not installed.
    """
    check_brings_its_own(name, params)
    return read_preset(name, params.sha256, with_weights=params.source == "imagenet")


def check_brings_its_own(name: str, params: WeightsParams) -> None:
    """Check that no weights are named besides those of the backbone itself.

    Raises:
        PipelineError: `weights.path` or `weights.compare` is set.
    """
    if params.path is not None or params.compare:
        raise PipelineError(
            f"backbone.name = '{name}' brings its own weights; set weights.path: null and "
            "weights.compare: false"
        )


def own_backbone(path: Path, params: WeightsParams) -> tuple[keras.Model, dict]:
    """The user's own model up to its features, with its weights or with random ones, and what is
    recorded of it.

    Raises:
        PipelineError: the file cannot be used, or `weights.path` or `weights.compare` is set as
        well.
    """
    check_brings_its_own(str(path), params)
    backbone, model = read_own_model(path.expanduser(), params.sha256)
    if params.source == "random":
        return keras.Model.from_config(backbone.get_config()), model
    print(f"weights: those in {path}")
    return backbone, model


def published_backbone(name: str, params: WeightsParams) -> keras.Model:
    """A network of the table, with its published weights, those of a file, or random ones.

    Raises:
        PipelineError: no such network, or its weights are not available.
    """
    if params.sha256 is not None and params.path is None:
        raise PipelineError(
            "weights.sha256 is the checksum of the file in weights.path, or of a model file or "
            "preset in backbone.name, and neither is one; name the file or set weights.sha256: null"
        )
    # convolutions do not depend on the image size
    backbone = build_backbone(name, find_architecture(name).smallest)
    if params.source == "imagenet":
        obtain(backbone, name, params)
    return backbone


def obtain(backbone: keras.Model, name: str, params: WeightsParams) -> None:
    """Load the weights of the network `name` into `backbone`, check them, and print their source.

    Raises:
        PipelineError: no source is available, sources disagree, or the tensors are not the known
            ones.
    """
    published = SOURCES[name]
    sources, expected = sources_for(name, params)
    used, unavailable = load_first(backbone, sources)
    for answer in unavailable:
        print(f"weights: not from {answer}")
    print(f"weights: from {used}")
    if params.compare:
        others = published[published.index(used) + 1 :] if used in published else published
        compare_sources(backbone, name, used, others)
    if expected is not None:
        check_digest(backbone, used, expected)


def sources_for(name: str, params: WeightsParams) -> tuple[Sequence[Source], str | None]:
    """The sources to try in turn, and the digest that their tensors must have.

    A file that the user names is the only source. With its own checksum it may hold any weights,
    for example those of a network that the user trained; without one it must hold the known
    weights.

    Raises:
        PipelineError: a file without a checksum, for a backbone without a known digest.
    """
    known = DIGESTS.get(name)
    if params.path is None:
        return SOURCES[name], known
    file = UserFile(Path(params.path).expanduser(), params.sha256)
    if params.sha256 is not None:
        return [file], None
    if known is None:
        raise PipelineError(
            f"weights.path = {params.path!r}: no digest of {name}'s weights is known here to "
            "check it by; give the file's checksum too, weights.sha256 "
            f"(`sha256sum {params.path}`)"
        )
    return [file], known


def compare_sources(
    backbone: keras.Model, name: str, used: Source, others: Sequence[Source]
) -> None:
    """Compare the weights in use with those of every other reachable source, tensor by tensor, and
    print the result.

    Raises:
        PipelineError: some tensors differ, naming each.
    """
    compared = 0
    for source in others:
        other = build_backbone(name, backbone.input_shape[1])
        try:
            source.load_into(other)
        except SourceUnavailableError as reason:
            print(f"weights: not compared with {source}: {reason}")
            continue
        count = len(backbone.weights)
        if different := differences(backbone, other):
            tensors = "\n".join(
                f"  {tensor}, by up to {largest:.3g}" for tensor, largest in different.items()
            )
            raise PipelineError(
                f"{source}\ndiffers from {used}\nin {len(different)} of {count} "
                f"tensors:\n{tensors}\n"
                "Do not trust either before you know why; to use one all the same, set "
                "weights.compare: false, "
                "name its file in weights.path and give its weights.sha256"
            )
        print(f"weights: all {count} tensors of {source} equal the ones in use, byte for byte")
        compared += 1
    if not compared:
        print("weights: only one source is available, so nothing was compared")


if __name__ == "__main__":
    run_stage(main)
