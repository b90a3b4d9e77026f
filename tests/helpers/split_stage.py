"""Running `split` in the working directory, and reading what it made."""

from pathlib import Path

import pandas as pd
import pytest

from stages import split
from tests.helpers.tiny_sources import class_folders, write_params
from transfer.dataset.manifest import read_manifest
from transfer.runtime.errors import PipelineError

FRACTIONS = {"train": 0.6, "validation": 0.2, "test": 0.2}
KINDS = ["folder", "set.zip", "set.tar", "set.tar.gz"]
CATS_AND_DOGS = class_folders(cat=10, dog=15)


def run_split(source: Path | None = None, decode: dict | None = None, **params) -> pd.DataFrame:
    """Run the stage in the working directory and read its manifest; `decode` are parameters of that
    section."""
    write_params(
        Path(),
        split=FRACTIONS | {"source": source and str(source), "max_rejected": 0} | params,
        decode=decode or {},
    )
    split.main()
    return read_manifest()


def refusal(source: Path | None = None, **params) -> str:
    with pytest.raises(PipelineError) as error:
        run_split(source, **params)
    assert not Path("data/manifest/manifest.csv").exists()
    return str(error.value)


def counts(manifest: pd.DataFrame) -> dict[str, int]:
    return manifest["split"].value_counts().to_dict()


def sides(manifest: pd.DataFrame, *paths: str) -> set[str]:
    return set(manifest.loc[manifest["path"].isin(paths), "split"])


def rejected() -> dict[str, str]:
    return (
        pd.read_csv("data/split/rejected.csv", keep_default_na=False)
        .set_index("path")["reason"]
        .to_dict()
    )
