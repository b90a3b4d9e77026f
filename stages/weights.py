"""Obtain the pretrained backbone once: from the first source that can serve, checked, as the same bytes whichever it was."""

from pathlib import Path
from typing import Literal

import keras
from pydantic import NonNegativeInt

from transfer.backbone import WEIGHTS, build_backbone
from transfer.door import run
from transfer.errors import PipelineError
from transfer.files import replacing
from transfer.params import Params, load_param, load_params
from transfer.pretrained import DIGESTS, SOURCES, Source, SourceUnavailableError, UserFile, compare, load_first


class WeightsParams(Params):
    source: Literal["imagenet", "random"]
    path: str | None
    sha256: str | None
    compare: bool
    seed: NonNegativeInt


def main() -> None:
    params = load_params(WeightsParams, "weights")
    name = load_param(str, "backbone.name")
    keras.utils.set_random_seed(params.seed)
    backbone = build_backbone(name)
    if params.source == "imagenet":
        sources, expected = sources_for(name, params)
        print(f"weights: {load_first(backbone, sources, expected)}")
        if params.compare:
            compare_sources(name, backbone, sources)
    with replacing(WEIGHTS) as temporary:
        backbone.save_weights(temporary)


def sources_for(name: str, params: WeightsParams) -> tuple[list[Source], str | None]:
    """The sources to try in turn, and the digest that their tensors must have.

    A file that the user names goes first: it was named to be used. With its own checksum it may hold any weights
    (of a network that the user trained, say); without one it must hold the known ones.
    """
    if params.path is None:
        return SOURCES[name], DIGESTS.get(name)
    known = None if params.sha256 else DIGESTS.get(name)
    if params.sha256 is None and known is None:
        raise PipelineError(f"weights.path = {params.path!r}: give its checksum too, weights.sha256 (`sha256sum {params.path}`)")
    return [UserFile(Path(params.path), params.sha256)], known


def compare_sources(name: str, loaded: keras.Model, sources: list[Source]) -> None:
    """Load every source that can be had and hold its tensors against the ones that were loaded."""
    reached = 0
    for source in sources:
        other = build_backbone(name)
        try:
            source.load_into(other)
        except SourceUnavailableError as reason:
            print(f"weights: not compared, {source}: {reason}")
            continue
        reached += 1
        rows = compare(loaded, other)
        for tensor, equal, difference in rows:
            print(f"  {tensor:28} {'equal' if equal else f'differs by up to {difference:.3g}'}")
        if different := [tensor for tensor, equal, _ in rows if not equal]:
            raise PipelineError(f"{source} differs in {len(different)} of {len(rows)} tensors: {', '.join(different)}")
        print(f"weights: {len(rows)} tensors of {source} equal the ones in use, byte for byte")
    if reached < 2:
        print(f"weights: {reached} source could be had, so nothing was held against another")


if __name__ == "__main__":
    run(main)
