"""The manifest's images, read from the source again: each one is the file that `split` saw, or it
is an error."""

import hashlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from transfer.decoding.rgb import BadImageError, memory_for, read_rgb
from transfer.decoding.value_ranges import PixelRules
from transfer.engines.base import Crashed, Engine
from transfer.runtime.errors import PipelineError
from transfer.sources.reader import read_source
from transfer.sources.source_file import (
    SourceFile,
    batches_of_entries,
    decoder_fingerprint,
    load_all,
)

if TYPE_CHECKING:  # a worker does without pandas
    import pandas as pd


@dataclass(frozen=True)
class VerifiedImageTask:
    """function: of an image, upright 8-bit RGB. rules: how samples become that."""

    source: Path | str
    function: Callable[[Image.Image], Any]
    rules: PixelRules
    files = ()
    needs_gpu = False
    unused_packages = ()
    overlaps = False

    def start(self) -> "VerifiedImageFunction":
        return VerifiedImageFunction(self.source, self.function, self.rules)


class VerifiedImageFunction:
    """Path and `function(image)` of each entry that comes with the SHA-256 that the manifest
    has of it."""

    uses_all_cores = False

    def __init__(
        self, source: Path | str, function: Callable[[Image.Image], Any], rules: PixelRules
    ):
        self._source, self._function, self._rules = source, function, rules
        self.about = decoder_fingerprint()

    def __call__(self, items: list[tuple[SourceFile, str]]) -> list[tuple[str, Any]]:
        entries = load_all([entry for entry, _ in items])
        return [
            (entry.path, self._look(entry, checksum))
            for entry, (_, checksum) in zip(entries, items, strict=True)
        ]

    def _look(self, entry: SourceFile, checksum: str) -> Any:
        if entry.problem:
            raise PipelineError(
                f"{self._source}: {entry.path!r}: {entry.problem}; run `dvc repro` again"
            )
        if hashlib.sha256(entry.content).hexdigest() != checksum:
            raise PipelineError(
                f"{self._source}: {entry.path!r} is not the file that `split` saw; run `dvc repro` "
                "again"
            )
        try:
            with memory_for(entry.content):
                return self._function(read_rgb(entry.content, self._rules))
        except BadImageError as problem:
            raise PipelineError(
                f"{self._source}: {entry.path!r}: {problem}; it could be read when `split` ran: "
                "run `dvc repro` again"
            ) from None


def map_verified_images(
    function: Callable[[Image.Image], Any],
    source: Path | str,
    listed: "pd.DataFrame",
    engine: Engine,
    rules: PixelRules | None = None,
    *,
    follow_links: bool = False,
) -> Iterator[tuple[str, Any]]:
    """Yield path and `function(image)` of each listed image, upright 8-bit RGB, in any order;
    nothing else is read.

    Args:
        listed: rows of the manifest.
        rules: of the data set, as `load_pixel_rules` has them; by default those of 8-bit images.
        follow_links: as in `read_source`.

    Raises:
        PipelineError: a listed image is gone, has changed, no longer decodes, or ends the processes
            that decode it.
    """
    rows = {path: row for row, path in enumerate(listed["path"])}
    checksums, is_missing = listed["sha256"].array, np.ones(len(listed), bool)
    files = (
        entry
        for entry in read_source(source, rows, follow_links=follow_links)
        if not (entry.problem or entry.is_folder)
    )
    batches = (
        (entries, [(entry, checksums[rows[entry.path]]) for entry in entries])
        for entries in batches_of_entries(files)
    )
    with engine.start(VerifiedImageTask(source, function, rules or PixelRules())) as workers:
        for entries, results in workers.map(batches):
            for entry, result in zip(entries, results, strict=True):
                if isinstance(result, Crashed):
                    raise PipelineError(
                        f"{source}: {entry.path!r} ended {result.attempts} processes that decoded "
                        "it; it could be read when `split` ran: remove it, or run "
                        "`dvc repro --force split` on this cluster, which rejects it"
                    )
                is_missing[rows[entry.path]] = False
                yield result
    check_none_missing(source, [*compress(rows, is_missing)])


def check_none_missing(source: Path | str, missing: Collection[str]) -> None:
    """Raises PipelineError if any of the manifest's images was not found in the source.

    Args:
        missing: the paths of those.
    """
    if missing:
        raise PipelineError(
            f"{source}: {len(missing)} of the manifest's images are gone or can no longer be "
            f"read, the first being {min(missing)!r}; run `dvc repro` again"
        )
