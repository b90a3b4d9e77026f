import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from transfer.errors import PipelineError
from transfer.manifest import COLUMNS, class_names, labels_of, read_manifest, rows_of, write_manifest

SHA = "0123456789abcdef" * 4


def table(*rows: tuple) -> pd.DataFrame:
    return pd.DataFrame([(*row, SHA) for row in rows], columns=COLUMNS)


GOOD = table(
    ("test", "dog/NA", "dog", 1, 4),
    ("unused", "cat/9.png", "cat", 0, 5),
    ("train", 'dog/a "b", c.png', "dog", 1, 0),
    ("train", "cat/1.png", "cat", 0, 1),
    ("validation", "cat/ü.png", "cat", 0, 2),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_manifest(GOOD, tmp_path / "manifest.csv")
    return tmp_path / "manifest.csv"


def test_what_was_written_is_read_in_order_of_split_and_path(path):
    assert read_manifest(path).to_numpy().tolist() == GOOD.iloc[[3, 2, 4, 0, 1]].to_numpy().tolist()


def test_the_order_of_rows_given_does_not_matter(path, tmp_path):
    write_manifest(GOOD.iloc[::-1], tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_bytes() == path.read_bytes()


def test_class_names_that_look_like_numbers_or_nothing_stay_text(path):
    odd = table(("train", "001/1", "001", 0, 0), ("validation", "NA/1", "NA", 1, 1), ("test", "nan/1", "nan", 2, 2))
    write_manifest(odd, path)
    assert class_names(read_manifest(path)) == ["001", "NA", "nan"]


def test_rows_labels_and_names_of_a_split(path):
    manifest = read_manifest(path)
    assert rows_of(manifest, "train")["path"].to_dict() == {0: "cat/1.png", 1: 'dog/a "b", c.png'}
    assert labels_of(manifest, "train").tolist() == [0, 1]
    assert np.issubdtype(labels_of(manifest, "train").dtype, np.integer)
    assert class_names(manifest) == ["cat", "dog"]


def refusal(path: Path) -> str:
    with pytest.raises(PipelineError) as error:
        read_manifest(path)
    return str(error.value)


def test_a_missing_manifest_says_how_to_get_it(tmp_path):
    assert refusal(tmp_path / "manifest.csv").endswith("manifest.csv is missing; run `dvc repro split` or `dvc pull`")


def test_a_folder_in_its_place_is_refused(tmp_path):
    assert "is damaged" in refusal(tmp_path)


def edited(old: str, new: str):
    return lambda text: re.sub(old, new, text, count=1)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda text: "", "No columns to parse"),
        (lambda text: "\udcff" * 50, "is damaged"),
        (lambda text: text.splitlines()[0] + "\n", "no images in train"),
        (lambda text: text[: text.index("unused") - 10], "no sha256 for 'dog/NA'"),
        (lambda text: text[: text.index("test,")], "no images in test"),
        (
            edited("label", "lable"),
            "its columns are split, path, class_name, lable, group, sha256 instead of split, path, class_name, label",
        ),
        (edited("split,", ""), "is damaged"),
        (edited("validation,", "val,"), "unknown split 'val'"),
        (edited("cat,0,1", "cat,1,1"), "label 1 of 'cat/1.png' does not fit its class 'cat'"),
        (edited("cat,0,1", "cow,0,1"), "does not fit its class"),
        (edited("cat,0,1", "cat,x,1"), "is damaged"),
        (edited("cat,0,1", f"cat,{'9' * 30},1"), "is damaged"),
        (edited("cat,0,1", "cat,1e20,1"), "is damaged"),
        (edited("cat,0,1", "cat,,1"), "is damaged"),
        (edited("cat/9.png", "cat/1.png"), "'cat/1.png' is listed twice"),
        (edited(SHA, "abc"), "no sha256 for 'cat/1.png'"),
        (edited(SHA, SHA + ",more"), "is damaged"),
    ],
)
def test_a_damaged_manifest_is_refused_with_what_is_wrong(path, damage, words):
    path.write_bytes(damage(path.read_text(encoding="utf-8")).encode("utf-8", "surrogateescape"))
    message = refusal(path)
    assert words in message
    assert message.startswith(f"{path} is damaged")
    assert message.endswith("delete it and run `dvc repro split`")
