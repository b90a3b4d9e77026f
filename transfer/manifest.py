"""The manifest: which image is where. Row i of every array of a split is row i of that split here."""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from transfer.errors import PipelineError
from transfer.files import replacing

MANIFEST = Path("data/split/manifest.csv")
SPLITS = ("train", "validation", "test")
UNUSED = "unused"  # beyond the counts asked for: listed, so that every image is accounted for
COLUMNS = ["split", "path", "class_name", "label", "group", "sha256"]


def write_manifest(manifest: pd.DataFrame, path: Path = MANIFEST) -> None:
    """Write the manifest ordered by split, then path.

    Args:
        manifest: the columns of COLUMNS: split (train, validation, test or unused), path inside the source,
            class_name, label (its number in the sorted class names, from 0), group (images that must stay on one
            side share it), sha256 of the file.
    """
    order = manifest["split"].map([*SPLITS, UNUSED].index)
    ordered = manifest.assign(order=order).sort_values(["order", "path"])[COLUMNS]
    with replacing(path) as temporary:
        ordered.to_csv(temporary, index=False, lineterminator="\n")


def read_manifest(path: Path = MANIFEST) -> pd.DataFrame:
    """Read the manifest back.

    Raises:
        PipelineError: missing, not a table, columns or values that `write_manifest` would not have written.
    """
    try:
        text = {"split": str, "path": str, "class_name": str, "sha256": str}
        with warnings.catch_warnings(action="error"):  # numbers such as 1e20 only make pandas warn, at first
            manifest = pd.read_csv(path, dtype=text | {"label": int, "group": int}, keep_default_na=False)
    except FileNotFoundError:
        raise PipelineError(f"{path} is missing; run `dvc repro split` or `dvc pull`") from None
    except (ValueError, OverflowError, TypeError, OSError, Warning) as error:
        raise PipelineError(f"{path} is damaged ({error}); delete it and run `dvc repro split`") from None
    if problem := _problem(manifest):
        raise PipelineError(f"{path} is damaged: {problem}; delete it and run `dvc repro split`")
    return manifest


def _problem(manifest: pd.DataFrame) -> str | None:
    """What `write_manifest` after `split` would not have written."""
    if list(manifest.columns) != COLUMNS:
        return f"its columns are {', '.join(map(str, manifest.columns))} instead of {', '.join(COLUMNS)}"
    found = set(manifest["split"])
    if unknown := sorted(found - {*SPLITS, UNUSED}):
        return f"unknown split {unknown[0]!r}"
    if missing := [split for split in SPLITS if split not in found]:
        return f"no images in {missing[0]}"
    labels = {name: label for label, name in enumerate(class_names(manifest))}
    wrong = manifest[manifest["label"] != manifest["class_name"].map(labels)]
    if len(wrong):
        return f"label {wrong['label'].iloc[0]} of {wrong['path'].iloc[0]!r} does not fit its class {wrong['class_name'].iloc[0]!r}"
    if (twice := manifest["path"].duplicated()).any():
        return f"{manifest.loc[twice, 'path'].iloc[0]!r} is listed twice"
    if not (whole := manifest["sha256"].str.fullmatch("[0-9a-f]{64}").fillna(False)).all():
        return f"no sha256 for {manifest.loc[~whole, 'path'].iloc[0]!r}"
    return None


def rows_of(manifest: pd.DataFrame, split: str) -> pd.DataFrame:
    """The rows of one split, numbered from 0: row i here is row i of that split's arrays."""
    return manifest[manifest["split"] == split].reset_index(drop=True)


def class_names(manifest: pd.DataFrame) -> list[str]:
    """Class names by label: `class_names(m)[label]`."""
    return sorted(manifest["class_name"].unique())


def labels_of(manifest: pd.DataFrame, split: str) -> np.ndarray:
    """Labels of one split's rows: int (N,)."""
    return rows_of(manifest, split)["label"].to_numpy()
