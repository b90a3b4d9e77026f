"""Decode and resize each image once."""

import shutil
import sys
from bisect import bisect_right
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import PositiveInt

from transfer.backbones.registry import image_side
from transfer.cluster.choose_engine import load_engine
from transfer.dataset.manifest import SPLITS, read_manifest, split_rows
from transfer.decoding.rgb import DecodeParams, Resize, load_pixel_rules
from transfer.decoding.value_ranges import PixelRules
from transfer.engines.base import Crashed, Engine, finish_jobs
from transfer.runtime.checkpoints import resumable
from transfer.runtime.checksums import content_key
from transfer.runtime.errors import PipelineError
from transfer.runtime.params import load_param, load_params
from transfer.runtime.progress import progress_bar
from transfer.runtime.resource_params import ResourceParams
from transfer.runtime.stage import run_stage
from transfer.sources.image_places import ImagePlaces, UnseenSourceError, find_places
from transfer.sources.image_shards import ImageShardTask, ImagesJob
from transfer.sources.verified_images import map_verified_images
from transfer.storage.array_paths import inputs_path
from transfer.storage.array_writer import create_array, write_sharded
from transfer.storage.known_shards import NO_KEYS, KnownShards
from transfer.storage.params import ArrayFormat, ArrayParams, Shards
from transfer.storage.row_cache import ActivationCache
from transfer.storage.shard_writer import SENDERS
from transfer.storage.sharded_array import Index, Shard


def main() -> None:
    """Decode and resize each image of the manifest once, into one array per split."""
    params = load_params(DecodeParams, "decode")
    source = load_param(str, "split.source")
    follow_links = load_param(bool, "split.follow_links")
    size = image_side(
        load_param(str, "backbone.name"), load_param(PositiveInt | None, "backbone.image_size")
    )
    arrays = load_params(ArrayParams, "arrays")
    resources = load_params(ResourceParams, "resources")
    with resumable("decode", leave_out={source}) as checkpoint:
        decoding = Decoding(
            Resize(size, params.interpolation),
            load_pixel_rules(params.background),
            load_engine(resources, "decode"),
            ArrayFormat(arrays.format, arrays.shard_rows, Shards(resources.shards_url)),
            checkpoint.folder,
        )
        write_images(source, read_manifest(), decoding, follow_links=follow_links)


@dataclass(frozen=True)
class Decoding:
    """How images are decoded, by whom, and where they are kept.

    rules: of samples that are no 8-bit RGB. kept: the format of the arrays. checkpoint: a folder
    that keeps what is decoded until the stage ends.
    """

    resize: Resize
    rules: PixelRules
    engine: Engine
    kept: ArrayFormat
    checkpoint: Path

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of one image."""
        return (self.resize.size, self.resize.size, 3)

    @property
    def identity(self) -> bytes:
        """32 bytes that differ whenever an image would be decoded to other pixels."""
        return content_key(repr(self.resize).encode(), repr(self.rules).encode())


def write_images(
    source: Path | str, manifest: pd.DataFrame, decoding: Decoding, *, follow_links: bool
) -> None:
    """Write each split's images, uint8 (N, size, size, 3), rows in the manifest's order.

    Shards are made and stored by the workers. If a worker does not see the source, or the source is
    an archive that can only be read from its beginning to its end, this process reads the files.

    Args:
        follow_links: as in `read_source`.

    Raises:
        PipelineError: an image of the manifest is gone, has changed or no longer decodes.
    """
    # as objects the paths are one string each, in the tables and as keys
    rows = {
        split: split_rows(manifest, split)[["path", "sha256"]].astype({"path": object})
        for split in SPLITS
    }
    if decoding.kept.form == "shards":
        paths = [path for own in rows.values() for path in own["path"]]
        if (places := find_places(source, paths, follow_links=follow_links)) is not None:
            try:
                write_image_shards(*places, rows, decoding)
                return
            except UnseenSourceError as error:
                print(f"decode: {error}, so this machine reads the images and sends them")
    write_rows(source, rows, decoding, follow_links=follow_links)


def write_rows(
    source: Path | str, rows: dict[str, pd.DataFrame], decoding: Decoding, *, follow_links: bool
) -> None:
    """Read the files here in one pass over the source, let the workers decode them and write the
    rows here. What is decoded is kept in the checkpoint as far as the disk has room beside the
    shards that are being filled.

    Args:
        rows: path and sha256 of the images of each split. The others, and the errors, are those of
            `write_images`.
    """
    starts = np.cumsum([0, *map(len, rows.values())]).tolist()
    listed = pd.concat(rows.values(), ignore_index=True)
    places = {path: place for place, path in enumerate(listed["path"])}
    checksums = listed["sha256"].array
    layout = np.dtype([("pixels", "u1", decoding.shape)])
    reserved = scratch_rows(Path(source), decoding.kept, len(listed)) * layout.itemsize
    with ExitStack() as stack:
        arrays = [
            stack.enter_context(_create_images(split, len(own), decoding))
            for split, own in rows.items()
        ]
        decoded_before = stack.enter_context(
            ActivationCache(decoding.checkpoint, decoding.identity, layout, sys.maxsize)
        )
        progress = stack.enter_context(
            progress_bar(desc="decode", total=len(listed), unit=" images")
        )

        def write(place: int, pixels: np.ndarray) -> None:
            number = bisect_right(starts, place) - 1
            arrays[number][place - starts[number]] = pixels
            progress.update()

        def key_of(place: int) -> bytes:
            return content_key(checksums[place].encode())

        is_known = np.zeros(len(listed), bool)
        for place in range(len(listed)) if len(decoded_before) else ():
            if (row := decoded_before.get(key_of(place))) is not None:
                write(place, row["pixels"])
                is_known[place] = True
        remaining = listed[~is_known] if is_known.any() else listed
        folder = inputs_path(SPLITS[0], "images").parent
        for path, pixels in map_verified_images(
            decoding.resize,
            source,
            remaining,
            decoding.engine,
            decoding.rules,
            follow_links=follow_links,
        ):
            write(places[path], pixels)
            if shutil.disk_usage(folder).free > reserved:
                decoded_before.put([key_of(places[path])], [pixels])


def _create_images(split: str, rows: int, decoding: Decoding) -> AbstractContextManager:
    return create_array(
        inputs_path(split, "images"),
        (rows,),
        decoding.shape,
        "uint8",
        size_parameter="backbone.image_size",
        kept=decoding.kept,
    )


def scratch_rows(source: Path, kept: ArrayFormat, rows: int) -> int:
    """How many of `rows` images lie on the local disk at most while shards are filled and sent."""
    if kept.form != "shards":
        return 0
    # images of an archive come in its order, which may leave all shards unfinished
    return min(rows, len(SPLITS) * (SENDERS + 2) * kept.shard_rows) if source.is_dir() else rows


def write_image_shards(
    images: ImagePlaces,
    parts: np.ndarray | None,
    rows: dict[str, pd.DataFrame],
    decoding: Decoding,
) -> None:
    """Let the workers make the shards of all splits' images, which they read themselves, and write
    the indexes.

    Args:
        images, parts: as `find_places` gives them, of the rows of all splits.
        rows: path and sha256 of the images of each split.

    Raises:
        UnseenSourceError: a worker does not see the images.
        PipelineError: as `write_images`.
    """
    store, shard_rows = decoding.kept.shards.store, decoding.kept.shard_rows
    store.check_writable()
    images.check_seen()
    indexes = {
        split: Index("uint8", (len(own),), decoding.shape, shard_rows, ())
        for split, own in rows.items()
    }
    known = KnownShards(decoding.checkpoint, decoding.identity, sys.maxsize)
    ends = np.cumsum([*map(len, rows.values())])
    parts_of = dict.fromkeys(rows)
    if parts is not None:
        parts_of = dict(zip(rows, np.split(parts, ends[:-1]), strict=True))

    def job(split: str, number: int) -> ImagesJob:
        own = slice(number * shard_rows, (number + 1) * shard_rows)
        paths, checksums = (tuple(rows[split][name].iloc[own]) for name in ("path", "sha256"))
        places = None if parts is None else parts_of[split][own]
        made = known.made(_key_of(checksums))
        return ImagesJob(
            indexes[split], number, paths, checksums, places, made[0] if made else None
        )

    def explain(each: tuple[str, int], crashed: Crashed) -> PipelineError:
        paths = job(*each).paths
        return PipelineError(
            f"{images.source}: one of the files from {paths[0]!r} to {paths[-1]!r} ended "
            f"{crashed.attempts} processes that decoded it; they could be read when `split` ran: "
            "run `dvc repro --force split` on this cluster, which rejects it"
        )

    shards: dict[tuple[str, int], Shard] = {}
    task = ImageShardTask(images, decoding.resize, decoding.rules, store, decoding.engine.cores)
    with (
        progress_bar(desc="decode", total=int(ends[-1]), unit=" images") as progress,
        decoding.engine.start(task) as workers,
    ):
        jobs = (
            ((split, number), job(split, number))
            for split, index in indexes.items()
            for number in range(index.shards_a_view)
        )
        for each, shard in finish_jobs(workers, jobs, explain):
            shards[each] = shard
            known.put(_key_of(job(*each).checksums), NO_KEYS, (shard,))
            progress.update(shard.rows)
    for split, index in indexes.items():
        made = tuple(shards[split, number] for number in range(index.shards_a_view))
        write_sharded(inputs_path(split, "images"), replace(index, shards=made))


def _key_of(checksums: tuple[str, ...]) -> bytes:
    return content_key("".join(checksums).encode())


if __name__ == "__main__":
    run_stage(main)
