"""Decode and resize each image once."""

from contextlib import ExitStack
from pathlib import Path

import pandas as pd
from pydantic import PositiveInt
from tqdm import tqdm

from transfer.backbones.registry import image_side
from transfer.cluster.choose_engine import load_engine
from transfer.dataset.manifest import SPLITS, read_manifest, split_rows
from transfer.engines.base import Engine
from transfer.runtime.params import load_param, load_params
from transfer.runtime.resource_params import ResourceParams
from transfer.runtime.stage import run_stage
from transfer.sources.decoding import DecodeParams, Resize, load_pixel_rules
from transfer.sources.value_ranges import PixelRules
from transfer.sources.verified_images import map_verified_images
from transfer.storage.array_paths import inputs_path
from transfer.storage.array_writer import create_array
from transfer.storage.params import ArrayFormat, ArrayParams, Shards


def main() -> None:
    params = load_params(DecodeParams, "decode")
    source = load_param(str, "split.source")
    follow_links = load_param(bool, "split.follow_links")
    size = image_side(
        load_param(str, "backbone.name"), load_param(PositiveInt | None, "backbone.image_size")
    )
    arrays, resources = (
        load_params(ArrayParams, "arrays"),
        load_params(ResourceParams, "resources"),
    )
    kept = ArrayFormat(arrays.format, arrays.shard_rows, Shards(resources.shards_url))
    write_images(
        source,
        read_manifest(),
        Resize(size, params.interpolation),
        load_engine(resources, "decode"),
        kept,
        load_pixel_rules(params.background),
        follow_links=follow_links,
    )


def write_images(
    source: Path | str,
    manifest: pd.DataFrame,
    resize: Resize,
    engine: Engine,
    kept: ArrayFormat,
    rules: PixelRules,
    *,
    follow_links: bool,
) -> None:
    """Write each split's images, uint8 (N, size, size, 3), rows in the manifest's order, in one
    pass over the source, in the format `kept`.

    Raises:
        PipelineError: an image of the manifest is gone, has changed or no longer decodes.
    """
    places = {
        path: (split, row)
        for split in SPLITS
        for row, path in enumerate(split_rows(manifest, split)["path"])
    }
    listed = manifest[manifest["split"].isin(SPLITS)]
    with ExitStack() as stack:
        arrays = {
            split: stack.enter_context(
                create_array(
                    inputs_path(split, "images"),
                    (len(split_rows(manifest, split)),),
                    (resize.size, resize.size, 3),
                    "uint8",
                    "backbone.image_size",
                    kept,
                )
            )
            for split in SPLITS
        }
        decoded = map_verified_images(
            resize, source, listed, engine, rules, follow_links=follow_links
        )
        for path, pixels in tqdm(decoded, desc="decode", total=len(places), unit=" images"):
            split, row = places[path]
            arrays[split][row] = pixels


if __name__ == "__main__":
    run_stage(main)
