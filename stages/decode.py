"""Decode and resize each image once."""

import hashlib
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import PositiveInt
from tqdm import tqdm

from transfer.arrays import let_go, new_array
from transfer.door import run
from transfer.errors import PipelineError
from transfer.images import BadImageError, read_rgb, resize
from transfer.manifest import SPLITS, read_manifest, rows_of
from transfer.parallel import map_in_order
from transfer.params import Params, load_param, load_params
from transfer.sources import Entry, read_source

IMAGES = Path("data/images")


class DecodeParams(Params):
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"]


def main() -> None:
    params = load_params(DecodeParams, "decode")
    source = load_param(str, "split.source")
    size = load_param(PositiveInt, "backbone.image_size")
    write_images(Path(source), read_manifest(), size, params.interpolation)


def write_images(source: Path, manifest: pd.DataFrame, size: int, interpolation: str) -> None:
    """Write IMAGES/{split}.npy, uint8 (N, size, size, 3), rows in the manifest's order, in one pass over the source.

    Raises:
        PipelineError: an image of the manifest is gone, has changed or no longer decodes.
    """
    checksums = dict(zip(manifest["path"], manifest["sha256"], strict=True))

    def decode(entry: Entry) -> tuple[str, np.ndarray]:
        if hashlib.sha256(entry.content).hexdigest() != checksums[entry.path]:
            raise PipelineError(f"{source}: {entry.path!r} is not the file that `split` saw; run `dvc repro` again")
        try:
            return entry.path, resize(read_rgb(entry.content), size, interpolation)
        except BadImageError as problem:
            raise PipelineError(f"{source}: {entry.path!r}: {problem}; it could be read when `split` ran: run `dvc repro` again") from None

    places = {path: (split, row) for split in SPLITS for row, path in enumerate(rows_of(manifest, split)["path"])}
    with ExitStack() as stack:
        arrays = {
            split: stack.enter_context(
                new_array(IMAGES / f"{split}.npy", (len(rows_of(manifest, split)), size, size, 3), "uint8", "backbone.image_size")
            )
            for split in SPLITS
        }
        files = (entry for entry in read_source(source, set(places)) if entry.content is not None)
        for path, pixels in tqdm(map_in_order(decode, files), total=len(places), desc="decode", unit=" images"):
            split, row = places.pop(path)
            arrays[split][row] = pixels
            let_go(arrays[split])
        if places:
            raise PipelineError(
                f"{source}: {len(places)} of the manifest's images are gone or can no longer be read, the first being {min(places)!r}; "
                "run `dvc repro` again"
            )


if __name__ == "__main__":
    run(main)
