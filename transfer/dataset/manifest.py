"""The manifest: which image is where.
Row i of every array of a split is row i of that split here."""

import sys
import warnings
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from transfer.runtime.errors import PipelineError
from transfer.runtime.files import atomic_write

FOLDER = Path("data/manifest")
FORMATS = ("csv", "parquet")  # values of `split.manifest`
SPLITS = ("train", "validation", "test")
REQUIRED = SPLITS[:2]  # without test images the models are scored on the validation images
UNUSED = "unused"  # images beyond the requested counts, listed so that every image is accounted for
COLUMNS = ["split", "path", "class_name", "label", "group", "sha256"]
WEIGHT = "weight"  # a further column if a table of labels has weights
# rows that are written at a time, and how many of these are one row group of Parquet
_PART_ROWS, _GROUP_PARTS = 2**16, 16
_TEXT, _NUMBERS = ("split", "path", "class_name", "sha256"), ("label", "group")


def manifest_file(form: Literal["csv", "parquet"]) -> Path:
    """Where `split` writes the manifest."""
    return FOLDER / f"manifest.{form}"


def find_manifest() -> Path:
    """The existing manifest; if there is none, its name as CSV.

    Raises:
        PipelineError: there is one in each format.
    """
    found = [file for file in map(manifest_file, FORMATS) if file.exists()]
    if len(found) > 1:
        raise PipelineError(
            f"{found[0]} and {found[1].name} are both there, and which one is meant cannot be "
            f"known; delete {FOLDER} and run `dvc repro split`"
        )
    return found[0] if found else manifest_file("csv")


def write_manifest(
    manifest: pd.DataFrame,
    path: Path,
    order: Literal["path", "checksum"] = "path",
    checksums: np.ndarray | None = None,
) -> None:
    """Write the manifest, as Parquet if the name ends in that and otherwise as CSV, ordered by
    split, then path or checksum.

    Args:
        manifest: the columns of COLUMNS: split (train, validation, test or unused), path inside the
            source, class_name, label (its number in the sorted class names, from 0), group (images
            that must stay on one side share it), sha256 of the file; and maybe weight, how much the
            image counts in training.
        path: from `manifest_file`.
        checksums: uint8 (N, 32), where the column sha256 is missing.
    """
    rows = _order(manifest, order, checksums)
    columns = [*COLUMNS, *([WEIGHT] if WEIGHT in manifest else [])]

    def parts() -> Iterator[pd.DataFrame]:
        for first in range(0, max(1, len(rows)), _PART_ROWS):
            chosen = rows[first : first + _PART_ROWS]
            part = manifest.iloc[chosen]
            if checksums is not None:
                part = part.assign(sha256=[bytes(each).hex() for each in checksums[chosen]])
            yield part[columns]

    with atomic_write(path) as temporary:
        if path.suffix == ".parquet":
            _write_parquet(parts(), temporary, weighted=WEIGHT in manifest)
        else:
            _write_csv(parts(), temporary)


def _order(
    manifest: pd.DataFrame, order: Literal["path", "checksum"], checksums: np.ndarray | None
) -> np.ndarray:
    """The numbers of the rows by split, then path or checksum, int (N,)."""
    places = manifest["split"].map([*SPLITS, UNUSED].index).to_numpy(np.uint8)
    rows = np.argsort(manifest["path"].to_numpy(object), kind="stable")
    if order == "checksum":
        if checksums is None:
            contents = manifest["sha256"].to_numpy(object)
        else:
            contents = checksums.view("S32").ravel()
        rows = rows[np.argsort(contents[rows], kind="stable")]
    return rows[np.argsort(places[rows], kind="stable")]


def _write_csv(parts: Iterable[pd.DataFrame], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        for number, part in enumerate(parts):
            part.to_csv(file, index=False, header=number == 0, lineterminator="\n")


def _write_parquet(parts: Iterable[pd.DataFrame], path: Path, *, weighted: bool) -> None:
    """Without pandas's notes about itself in it:
    equal tables give equal bytes by one version of pyarrow."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = _schema(weighted=weighted)
    tables = (
        pa.Table.from_pandas(part, schema=schema, preserve_index=False).replace_schema_metadata()
        for part in parts
    )
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        while group := [*islice(tables, _GROUP_PARTS)]:
            # whole, since the bytes of the pages follow the parts
            writer.write_table(pa.concat_tables(group).combine_chunks())


def _schema(*, weighted: bool):
    import pyarrow as pa

    columns = [(name, pa.string() if name in _TEXT else pa.int64()) for name in COLUMNS]
    return pa.schema(columns + ([(WEIGHT, pa.float64())] if weighted else []))


def read_manifest(path: Path | None = None) -> pd.DataFrame:
    """Read the manifest back, by default that of `find_manifest`.

    Raises:
        PipelineError: missing, in two formats at once, not a table, columns or values that
            `write_manifest` would not have written.
    """
    path = path or find_manifest()
    try:
        manifest = _read_parquet(path) if path.suffix == ".parquet" else _read_csv(path)
    except FileNotFoundError:
        raise PipelineError(f"{path} is missing; run `dvc repro split` or `dvc pull`") from None
    except (
        ValueError,
        OverflowError,
        TypeError,
        NotImplementedError,
        KeyError,
        OSError,
        Warning,
    ) as error:
        raise PipelineError(
            f"{path} is damaged ({error}); delete it and run `dvc repro split`"
        ) from None
    if problem := _problem(manifest):
        raise PipelineError(f"{path} is damaged: {problem}; delete it and run `dvc repro split`")
    return manifest


def _read_csv(path: Path) -> pd.DataFrame:
    # numbers such as 1e20 only make pandas warn, at first
    with warnings.catch_warnings(action="error"):
        return pd.read_csv(
            path,
            dtype=dict.fromkeys(_TEXT, str) | dict.fromkeys(_NUMBERS, int) | {WEIGHT: float},
            keep_default_na=False,
        )


def _read_parquet(path: Path) -> pd.DataFrame:
    import pyarrow.parquet as pq

    with path.open("rb") as file:
        table = pq.read_table(file)
    if not table.schema.equals(_schema(weighted=WEIGHT in table.schema.names)):
        raise ValueError(f"its columns are {', '.join(map(str, table.schema))}")
    table.validate(full=True)  # otherwise invalid text would fail later
    if any(column.null_count for column in table.columns):
        raise ValueError("values are missing")
    return table.to_pandas()


def _problem(manifest: pd.DataFrame) -> str | None:
    """Why `write_manifest` cannot have written this; None if it can."""
    if list(manifest.columns) not in (COLUMNS, [*COLUMNS, WEIGHT]):
        return (
            f"its columns are {', '.join(map(str, manifest.columns))} instead of "
            f"{', '.join(COLUMNS)}"
        )
    found = set(manifest["split"])
    if unknown := sorted(found - {*SPLITS, UNUSED}):
        return f"unknown split {unknown[0]!r}"
    if missing := [split for split in REQUIRED if split not in found]:
        return f"no images in {missing[0]}"
    labels = {name: label for label, name in enumerate(class_names(manifest))}
    wrong = manifest[manifest["label"] != manifest["class_name"].map(labels)]
    if len(wrong):
        return (
            f"label {wrong['label'].iloc[0]} of {wrong['path'].iloc[0]!r} does not fit its class "
            f"{wrong['class_name'].iloc[0]!r}"
        )
    if (twice := manifest["path"].duplicated()).any():
        return f"{manifest.loc[twice, 'path'].iloc[0]!r} is listed twice"
    if not (whole := manifest["sha256"].str.fullmatch("[0-9a-f]{64}").fillna(False)).all():
        return f"no sha256 for {manifest.loc[~whole, 'path'].iloc[0]!r}"
    if WEIGHT in manifest and not (right := manifest[WEIGHT].between(0, sys.float_info.max)).all():
        return f"no weight for {manifest.loc[~right, 'path'].iloc[0]!r}"
    return None


def split_rows(manifest: pd.DataFrame, split: str) -> pd.DataFrame:
    """The rows of one split, numbered from 0: row i here is row i of that split's arrays."""
    return manifest[manifest["split"] == split].reset_index(drop=True)


def class_names(manifest: pd.DataFrame) -> list[str]:
    """Class names by label: `class_names(m)[label]`."""
    return sorted(manifest["class_name"].unique())


def weights_of(manifest: pd.DataFrame, split: str) -> np.ndarray | None:
    """How much each row of a split counts in training: float32 (N,) with a mean of 1, or None if
    all count the same.

    Raises:
        PipelineError: all of them are 0.
    """
    if WEIGHT not in manifest:
        return None
    weights = split_rows(manifest, split)[WEIGHT].to_numpy(np.float64)
    if not weights.any():
        raise PipelineError(
            f"all weights of the {split} images are 0; correct the column split.columns.weight"
        )
    return (weights / weights.mean()).astype(np.float32)


def labels_of(manifest: pd.DataFrame, split: str) -> np.ndarray:
    """Labels of one split's rows: int (N,)."""
    return split_rows(manifest, split)["label"].to_numpy()
