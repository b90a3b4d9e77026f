"""Convert the frozen network once for LiteRT, which runs it on CPUs without TensorFlow."""

import hashlib
import os
from importlib.util import find_spec
from pathlib import Path

from transfer.backbones.converted import NETWORK, RECORD, Converted
from transfer.backbones.registry import WEIGHTS, BackboneParams
from transfer.runtime.checksums import file_checksum
from transfer.runtime.files import write_bytes, write_json
from transfer.runtime.params import load_params
from transfer.runtime.stage import run_stage

METRICS = Path("metrics/network.json")


def main() -> None:
    """Write the converted network, its record, and what `null` in the section `backbone` stands
    for. If conversion fails, print the reason and write an empty network."""
    architecture = load_params(BackboneParams, "backbone")
    if find_spec("tensorflow"):
        # conversion needs TensorFlow, whichever backend trains
        os.environ["KERAS_BACKEND"] = "tensorflow"
    from transfer.backbones.network import load_backbone, trainable_tail, with_preprocessing

    backbone = load_backbone(architecture)
    tail = trainable_tail(backbone, architecture.unfreeze_from)
    write_json(METRICS, summarise(architecture, backbone.count_params(), tail.count_params()))
    frozen = with_preprocessing(backbone, architecture, with_maps=True)
    content, problem = try_to_convert(frozen)
    cut, features, _ = (shape[1:] for shape in frozen.output_shape)
    record = Converted(
        backbone=architecture,
        weights=file_checksum(WEIGHTS),
        cut=cut,
        features=features,
        network=hashlib.sha256(content).hexdigest(),
        problem=problem,
    )
    print(
        f"convert: {problem}; Keras's backend will compute the frozen layers"
        if problem
        else f"convert: {len(content):,} bytes"
    )
    write_bytes(NETWORK, content)
    write_json(RECORD, record.model_dump())


def summarise(architecture: BackboneParams, n_all: int, n_tail: int) -> dict[str, str | int]:
    """The network as experiments show it, with numbers and names where params.yaml has null.

    Args:
        n_all: parameters of the whole backbone.
        n_tail: parameters of the layers that fine-tuning changes.
    """
    return {
        "name": architecture.name,
        "image_size": architecture.image_size,
        "unfreeze_from": architecture.unfreeze_from,
        "frozen_parameters": n_all - n_tail,
        "trainable_parameters": n_tail,
    }


def try_to_convert(frozen) -> tuple[bytes, str | None]:
    """Convert a frozen Keras model: the bytes of the LiteRT file, or empty bytes and the reason."""
    if not find_spec("tensorflow"):
        return b"", "TensorFlow is not installed, and its converter makes the LiteRT file"
    from transfer.backbones.conversion import ConversionError, convert

    try:
        return convert(frozen), None
    except ConversionError as error:
        return b"", f"{frozen.name} cannot be converted: {error}"


if __name__ == "__main__":
    run_stage(main)
