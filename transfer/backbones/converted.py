"""The frozen network converted for LiteRT: its two files, and the checks before they are used.
Needs no Keras."""

import hashlib
import json
from pathlib import Path

from transfer.backbones.registry import WEIGHTS, BackboneParams
from transfer.runtime.checksums import file_checksum
from transfer.runtime.errors import PipelineError
from transfer.runtime.params import Params

NETWORK = Path("data/frozen/network.tflite")
RECORD = Path("data/frozen/network.json")


class Converted(Params):
    """What RECORD says of NETWORK.

    Attributes:
        backbone: the parameters that it was built with.
        weights: sha256 of the weights file that it was built from.
        cut, features: shapes (h, w, C) of its two outputs for one image.
        network: sha256 of NETWORK's bytes.
        problem: why there is no converted network; NETWORK is empty then, and Keras computes the
            frozen pass.
    """

    backbone: BackboneParams
    weights: str
    cut: tuple[int, int, int]
    features: tuple[int, int, int]
    network: str
    problem: str | None


def read_converted(architecture: BackboneParams) -> Converted:
    """Read RECORD and check that it belongs to these parameters and, if the weights file exists, to
    the weights.

    Raises:
        PipelineError: it is missing, damaged, or of another network.
    """
    again = "run `dvc repro convert`"
    try:
        converted = Converted.model_validate(json.loads(RECORD.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise PipelineError(f"{RECORD} is missing; {again} or `dvc pull convert`") from None
    except ValueError as error:  # JSON's or pydantic's
        raise PipelineError(
            f"{RECORD} is damaged ({type(error).__name__}); delete it and {again}"
        ) from None
    if converted.backbone != architecture:
        made, wanted = (params.model_dump() for params in (converted.backbone, architecture))
        different = ", ".join(
            f"{key} {made[key]!r} instead of {wanted[key]!r}"
            for key in made
            if made[key] != wanted[key]
        )
        raise PipelineError(
            f"{RECORD} is of another network than params.yaml names ({different}); {again}"
        )
    if WEIGHTS.exists() and (found := file_checksum(WEIGHTS)) != converted.weights:
        raise PipelineError(
            f"{NETWORK} does not belong to {WEIGHTS}: it was made from weights of sha256 "
            f"{converted.weights[:12]}, these have {found[:12]}; {again}"
        )
    return converted


def read_network(converted: Converted) -> bytes:
    """The converted network's bytes.

    Raises:
        PipelineError: the file is missing, cut short, or not the one that RECORD names.
    """
    if not NETWORK.exists():
        raise PipelineError(f"{NETWORK} is missing; run `dvc repro convert` or `dvc pull convert`")
    content = NETWORK.read_bytes()
    if (found := hashlib.sha256(content).hexdigest()) != converted.network:
        raise PipelineError(
            f"{NETWORK} is damaged or of another network: {len(content):,} bytes of sha256 "
            f"{found[:12]}, {RECORD} says {converted.network[:12]}; delete it and run "
            f"`dvc repro convert`, or `dvc checkout --force {NETWORK}`"
        )
    return content
