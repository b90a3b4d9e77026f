"""Decode and resize each image once."""

from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import pandas as pd
from pydantic import PositiveInt
from tqdm import tqdm

from transfer.array_files import inputs_file
from transfer.backbones import image_side
from transfer.door import run
from transfer.engines.choose import load_engine
from transfer.images import Resize
from transfer.listed import map_listed
from transfer.manifest import SPLITS, read_manifest, rows_of
from transfer.new_rows import new_rows
from transfer.params import Params, load_param, load_params


class DecodeParams(Params):
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"]


def main() -> None:
    params = load_params(DecodeParams, "decode")
    source = load_param(str, "split.source")
    size = image_side(load_param(str, "backbone.name"), load_param(PositiveInt | None, "backbone.image_size"))
    write_images(source, read_manifest(), size, params.interpolation)


def write_images(source: Path | str, manifest: pd.DataFrame, size: int, interpolation: str) -> None:
    """Write each split's images, uint8 (N, size, size, 3), rows in the manifest's order, in one pass over the source.

    Raises:
        PipelineError: an image of the manifest is gone, has changed or no longer decodes.
    """
    places = {path: (split, row) for split in SPLITS for row, path in enumerate(rows_of(manifest, split)["path"])}
    listed = manifest[manifest["split"].isin(SPLITS)]
    with ExitStack() as stack:
        arrays = {
            split: stack.enter_context(
                new_rows(inputs_file(split, "images"), (len(rows_of(manifest, split)),), (size, size, 3), "uint8", "backbone.image_size")
            )
            for split in SPLITS
        }
        decoded = map_listed(Resize(size, interpolation), source, listed, load_engine("decode"))
        for path, pixels in tqdm(decoded, desc="decode", total=len(places), unit=" images"):
            split, row = places[path]
            arrays[split][row] = pixels


if __name__ == "__main__":
    run(main)
