"""Decode and resize each image once."""

import shutil
import sys
from bisect import bisect_right
from contextlib import ExitStack
from dataclasses import replace
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
    arrays, resources = (
        load_params(ArrayParams, "arrays"),
        load_params(ResourceParams, "resources"),
    )
    kept = ArrayFormat(arrays.format, arrays.shard_rows, Shards(resources.shards_url))
    with resumable("decode", leave_out={source}) as checkpoint:
        write_images(
            source,
            read_manifest(),
            Resize(size, params.interpolation),
            load_engine(resources, "decode"),
            kept,
            load_pixel_rules(params.background),
            checkpoint.folder,
            follow_links=follow_links,
        )


def write_images(
    source: Path | str,
    manifest: pd.DataFrame,
    resize: Resize,
    engine: Engine,
    kept: ArrayFormat,
    rules: PixelRules,
    checkpoint: Path,
    *,
    follow_links: bool,
) -> None:
    """Write each split's images, uint8 (N, size, size, 3), rows in the manifest's order, in the
    format `kept`.

    Shards are made and stored by the workers. If a worker does not see the source, or the source is
    an archive that can only be read from its beginning to its end, this process reads the files.

    Args:
        checkpoint: folder that keeps what is decoded until the stage ends, as far as the disk has
            room beside the shards that are being filled.
        follow_links: as in `read_source`.

    Raises:
        PipelineError: an image of the manifest is gone, has changed or no longer decodes.
    """
    if kept.form == "shards":
        rows = {split: split_rows(manifest, split) for split in SPLITS}
        paths = [path for split in SPLITS for path in rows[split]["path"]]
        if (places := find_places(source, paths, follow_links=follow_links)) is not None:
            try:
                write_image_shards(*places, rows, resize, engine, kept, rules, checkpoint)
                return
            except UnseenSourceError as error:
                print(f"decode: {error}, so this machine reads the images and sends them")
    write_rows(
        source,
        manifest,
        resize,
        engine,
        kept,
        rules,
        checkpoint,
        follow_links=follow_links,
    )


def write_rows(
    source: Path | str,
    manifest: pd.DataFrame,
    resize: Resize,
    engine: Engine,
    kept: ArrayFormat,
    rules: PixelRules,
    checkpoint: Path,
    *,
    follow_links: bool,
) -> None:
    """Read the files here in one pass over the source, let the workers decode them and write the
    rows here. Arguments and errors are those of `write_images`."""
    # as objects the paths are one string each, in the table and as the keys of places
    rows = [
        split_rows(manifest, split)[["path", "sha256"]].astype({"path": object}) for split in SPLITS
    ]
    starts = np.cumsum([0, *map(len, rows)]).tolist()
    listed = pd.concat(rows, ignore_index=True)
    places = {path: row for row, path in enumerate(listed["path"])}
    checksums = listed["sha256"].array
    layout = np.dtype([("pixels", "u1", (resize.size, resize.size, 3))])
    with ExitStack() as stack:
        arrays = {
            split: stack.enter_context(
                create_array(
                    inputs_path(split, "images"),
                    (len(own),),
                    (resize.size, resize.size, 3),
                    "uint8",
                    "backbone.image_size",
                    kept,
                )
            )
            for split, own in zip(SPLITS, rows, strict=True)
        }
        decoded_before = stack.enter_context(
            ActivationCache(checkpoint, identity(resize, rules), layout, sys.maxsize)
        )
        progress = stack.enter_context(
            progress_bar(desc="decode", total=len(places), unit=" images")
        )

        def write(place: int, pixels: np.ndarray) -> None:
            number = bisect_right(starts, place) - 1
            arrays[SPLITS[number]][place - starts[number]] = pixels
            progress.update()

        def key_of(place: int) -> bytes:
            return content_key(checksums[place].encode())

        folder = inputs_path(SPLITS[0], "images").parent
        reserved = scratch_rows(Path(source), kept, len(places)) * layout.itemsize
        is_known = np.zeros(len(listed), bool)
        for place in range(len(listed)) if len(decoded_before) else ():
            if (row := decoded_before.get(key_of(place))) is not None:
                write(place, row["pixels"])
                is_known[place] = True
        remaining = listed[~is_known] if is_known.any() else listed
        for path, pixels in map_verified_images(
            resize, source, remaining, engine, rules, follow_links=follow_links
        ):
            write(places[path], pixels)
            if shutil.disk_usage(folder).free > reserved:
                decoded_before.put([key_of(places[path])], [pixels])


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
    resize: Resize,
    engine: Engine,
    kept: ArrayFormat,
    rules: PixelRules,
    checkpoint: Path,
) -> None:
    """Let the workers make the shards of all splits' images, which they read themselves, and write
    the indexes. The other arguments and the errors are those of `write_images`.

    Args:
        images, parts: as `find_places` gives them, of the rows of all splits.
        rows: of the manifest, by split.

    Raises:
        UnseenSourceError: a worker does not see the images.
    """
    store = kept.shards.store
    store.check_writable()
    images.check_seen()
    shape = (resize.size, resize.size, 3)
    indexes = {
        split: Index("uint8", (len(rows[split]),), shape, kept.shard_rows, ()) for split in SPLITS
    }
    known = KnownShards(checkpoint, identity(resize, rules), sys.maxsize)
    starts = np.cumsum([0, *map(len, rows.values())])
    first_part = dict(zip(SPLITS, starts[:-1].tolist(), strict=True))
    numbers = [
        (split, number) for split in SPLITS for number in range(indexes[split].shards_a_view)
    ]

    def job(split: str, number: int) -> ImagesJob:
        first = number * kept.shard_rows
        listed = rows[split].iloc[first : first + kept.shard_rows]
        paths, checksums = tuple(listed["path"]), tuple(listed["sha256"])
        begin = first_part[split] + first
        places = None if parts is None else parts[begin : begin + len(paths)]
        made = known.made(content_key("".join(checksums).encode()))
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
    task = ImageShardTask(images, resize, rules, store, engine.cores)
    with (
        progress_bar(desc="decode", total=sum(map(len, rows.values())), unit=" images") as progress,
        engine.start(task) as workers,
    ):
        jobs = ((each, job(*each)) for each in numbers)
        for each, shard in finish_jobs(workers, jobs, explain):
            shards[each] = shard
            known.put(content_key("".join(job(*each).checksums).encode()), NO_KEYS, (shard,))
            progress.update(shard.rows)
    for split, index in indexes.items():
        made = tuple(shards[split, number] for number in range(index.shards_a_view))
        write_sharded(inputs_path(split, "images"), replace(index, shards=made))


def identity(resize: Resize, rules: PixelRules) -> bytes:
    """32 bytes that differ whenever an image would be decoded to other pixels."""
    return content_key(repr(resize).encode(), repr(rules).encode())


if __name__ == "__main__":
    run_stage(main)
