"""data/split/duplicates.csv: the images that share a group with others."""

from pathlib import Path

import numpy as np
import pandas as pd

from transfer.runtime.files import atomic_write
from transfer.sources.scanned_file import ScannedFiles

DUPLICATES = Path("data/split/duplicates.csv")


def list_duplicates(manifest: pd.DataFrame, images: ScannedFiles) -> pd.DataFrame:
    """List the images that share a group with others, and the identical files that lie in two
    classes.

    Args:
        manifest: its rows in the order of the images.
    """
    groups = manifest["group"].to_numpy()
    is_tied = np.bincount(groups) > 1  # identical files share a group
    rows = np.flatnonzero(is_tied[groups])
    tied, contents = manifest.iloc[rows], images.sha256[rows].view("S32").ravel()
    in_classes = tied.groupby(contents)["class_name"].transform("nunique")
    tied = tied.assign(same_file_in_two_classes=in_classes > 1)
    return tied.sort_values(["group", "path"])[
        ["group", "split", "path", "class_name", "same_file_in_two_classes"]
    ]


def write_duplicates(duplicates: pd.DataFrame) -> None:
    """Write what `list_duplicates` found."""
    with atomic_write(DUPLICATES) as temporary:
        duplicates.to_csv(temporary, index=False, lineterminator="\n")
