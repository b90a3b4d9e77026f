"""data/split/hashes.csv: read back as it was written, and refused if it is damaged."""

import pandas as pd
import pytest

from transfer.dataset.perceptual_hashes import read_hashes, write_hashes
from transfer.runtime.errors import PipelineError


def test_hashes_come_back_in_the_order_asked_for(tmp_path):
    write_hashes(["NA", "a", "b"], [0, 2**64 - 1, 255], tmp_path / "hashes.csv")
    assert read_hashes(pd.Series(["b", "NA", "a"]), tmp_path / "hashes.csv").tolist() == [
        255,
        0,
        2**64 - 1,
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is damaged (No columns to parse"),
        ("path,hash\n", "its columns are path, hash instead of path, phash"),
        ("path,phash\na,12\n", "no hash for 'a'"),
        ("path,phash\na,\n", "no hash for 'a'"),
        (f"path,phash\na,{'0' * 16}\na,{'0' * 16}\n", "'a' is listed twice"),
        (f"path,phash\nb,{'0' * 16}\n", "no row for 'a', which the manifest lists"),
        (None, "is missing; run `dvc repro split` or `dvc pull`"),
    ],
)
def test_damaged_hashes_are_refused_with_what_is_wrong(tmp_path, text, words):
    if text is not None:
        (tmp_path / "hashes.csv").write_text(text)
    with pytest.raises(PipelineError) as error:
        read_hashes(pd.Series(["a"]), tmp_path / "hashes.csv")
    assert words in str(error.value)
