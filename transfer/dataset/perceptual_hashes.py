"""Perceptual hashes of all images: `split` computes them when it reads each file,
`audit` compares them."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from transfer.runtime.errors import PipelineError
from transfer.runtime.files import write_csv

HASHES = Path("data/split/hashes.csv")
BITS = 64  # of imagehash.phash with its default size


def write_hashes(paths: Iterable[str], hashes: Iterable[int], path: Path = HASHES) -> None:
    """Write path and phash (16 hexadecimal digits, as imagehash prints it) of each image.

    Args:
        paths: in their order. hashes: the 64 bits of each.
    """
    rows = ((name, f"{bits:016x}") for name, bits in zip(paths, hashes, strict=True))
    write_csv(path, ["path", "phash"], rows)


def read_hashes(images: pd.Series, path: Path = HASHES) -> np.ndarray:
    """The hashes of images named by their paths, uint64, in the order asked for.

    Raises:
        PipelineError: missing, damaged, or without some of these images.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise PipelineError(f"{path} is missing; run `dvc repro split` or `dvc pull`") from None
    except (ValueError, OSError) as error:
        raise PipelineError(
            f"{path} is damaged ({error}); delete it and run `dvc repro split`"
        ) from None
    if problem := _problem(table, images):
        raise PipelineError(f"{path} is damaged: {problem}; delete it and run `dvc repro split`")
    found = table.set_index("path").loc[images, "phash"]
    return np.array([int(digits, 16) for digits in found], dtype=np.uint64)


def _problem(table: pd.DataFrame, images: pd.Series) -> str | None:
    """Why `write_hashes` cannot have written this; None if it can."""
    if list(table.columns) != ["path", "phash"]:
        return f"its columns are {', '.join(map(str, table.columns))} instead of path, phash"
    if (twice := table["path"].duplicated()).any():
        return f"{table.loc[twice, 'path'].iloc[0]!r} is listed twice"
    if not (whole := table["phash"].str.fullmatch(f"[0-9a-f]{{{BITS // 4}}}").fillna(False)).all():
        return f"no hash for {table.loc[~whole, 'path'].iloc[0]!r}"
    if not (known := images.isin(table["path"])).all():
        return f"no row for {images[~known].iloc[0]!r}, which the manifest lists"
    return None
