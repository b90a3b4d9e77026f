"""data/split/duplicates.csv: the images that share a group with others."""

from pathlib import Path

import pandas as pd

from transfer.runtime.files import atomic_write

DUPLICATES = Path("data/split/duplicates.csv")


def list_duplicates(manifest: pd.DataFrame) -> pd.DataFrame:
    """List the images that share a group with others, and the identical files that lie in two
    classes."""
    tied = manifest[manifest.groupby("group")["path"].transform("size") > 1]
    in_classes = manifest.groupby("sha256")["class_name"].transform("nunique")
    tied = tied.assign(same_file_in_two_classes=in_classes[tied.index] > 1)
    return tied.sort_values(["group", "path"])[
        ["group", "split", "path", "class_name", "same_file_in_two_classes"]
    ]


def write_duplicates(duplicates: pd.DataFrame) -> None:
    """Write what `list_duplicates` found."""
    with atomic_write(DUPLICATES) as temporary:
        duplicates.to_csv(temporary, index=False, lineterminator="\n")
