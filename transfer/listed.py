"""The manifest's images, read from the source again: each one is the file that `split` saw, or it is an error."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pandas as pd
from PIL import Image

from transfer.errors import PipelineError
from transfer.images import BadImageError, read_rgb
from transfer.parallel import map_in_order
from transfer.sources import Entry, read_source

T = TypeVar("T")


def map_listed(function: Callable[[Image.Image], T], source: Path, listed: pd.DataFrame) -> Iterator[tuple[str, T]]:
    """Yield path and `function(image)` of each listed image, upright 8-bit RGB, in the source's own order; nothing else is read.

    Args:
        function: called in threads, one a core.
        listed: rows of the manifest.

    Raises:
        PipelineError: a listed image is gone, has changed or no longer decodes.
    """
    checksums = dict(zip(listed["path"], listed["sha256"], strict=True))

    def look(entry: Entry) -> tuple[str, T]:
        if hashlib.sha256(entry.content).hexdigest() != checksums[entry.path]:
            raise PipelineError(f"{source}: {entry.path!r} is not the file that `split` saw; run `dvc repro` again")
        try:
            return entry.path, function(read_rgb(entry.content))
        except BadImageError as problem:
            raise PipelineError(f"{source}: {entry.path!r}: {problem}; it could be read when `split` ran: run `dvc repro` again") from None

    missing = set(checksums)
    files = (entry for entry in read_source(source, set(checksums)) if entry.content is not None)
    for path, result in map_in_order(look, files):
        missing.remove(path)
        yield path, result
    if missing:
        raise PipelineError(
            f"{source}: {len(missing)} of the manifest's images are gone or can no longer be read, the first being {min(missing)!r}; "
            "run `dvc repro` again"
        )
