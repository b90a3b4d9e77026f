import re
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from transfer.dataset import manifest
from transfer.dataset.manifest import (
    COLUMNS,
    class_names,
    labels_of,
    manifest_file,
    read_manifest,
    split_rows,
    weights_of,
    write_manifest,
)
from transfer.runtime.errors import PipelineError

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


@pytest.fixture
def parquet(tmp_path: Path) -> Path:
    write_manifest(GOOD, tmp_path / "manifest.parquet")
    return tmp_path / "manifest.parquet"


def test_parquet_is_read_as_csv_is_and_equal_tables_have_equal_bytes(path, parquet, tmp_path):
    pd.testing.assert_frame_equal(read_manifest(parquet), read_manifest(path))
    write_manifest(GOOD.iloc[::-1].convert_dtypes(), tmp_path / "again.parquet")
    assert (tmp_path / "again.parquet").read_bytes() == parquet.read_bytes()
    assert b"pandas" not in parquet.read_bytes()


def test_by_checksum_the_classes_of_a_split_lie_mixed(tmp_path):
    rows = [
        ("train", f"{name}/{i}", name, label, 0)
        for label, name in enumerate("ab")
        for i in range(20)
    ]
    mixed = table(*rows, ("validation", "a/x", "a", 0, 0), ("test", "b/x", "b", 1, 0))
    mixed["sha256"] = [sha256(path.encode()).hexdigest() for path in mixed["path"]]
    write_manifest(mixed, tmp_path / "m.csv", order="checksum")
    found = read_manifest(tmp_path / "m.csv")
    assert found["split"].tolist() == ["train"] * 40 + ["validation", "test"]
    assert split_rows(found, "train")["sha256"].is_monotonic_increasing
    assert (np.diff(labels_of(found, "train")) != 0).sum() > 10


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("order", ["path", "checksum"])
def test_parts_and_checksums_in_an_array_give_the_same_bytes(tmp_path, monkeypatch, kind, order):
    hashes = [sha256(path.encode()) for path in GOOD["path"]]
    told = GOOD.assign(sha256=[each.hexdigest() for each in hashes])
    write_manifest(told, tmp_path / f"whole.{kind}", order)
    monkeypatch.setattr(manifest, "_PART_ROWS", 2)
    contents = np.frombuffer(b"".join(each.digest() for each in hashes), np.uint8)
    bare = GOOD.drop(columns="sha256")
    write_manifest(bare, tmp_path / f"parts.{kind}", order, contents.reshape(-1, 32))
    assert (tmp_path / f"parts.{kind}").read_bytes() == (tmp_path / f"whole.{kind}").read_bytes()


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_the_manifest_is_recognised_by_what_is_there(project, kind):
    write_manifest(GOOD, manifest_file(kind))
    assert [file.name for file in (project / "data/manifest").iterdir()] == [f"manifest.{kind}"]
    assert len(read_manifest()) == 5


def test_two_manifests_are_refused(project):
    write_manifest(GOOD, manifest_file("csv"))
    manifest_file("parquet").touch()
    with pytest.raises(PipelineError) as error:
        read_manifest()
    assert str(error.value) == (
        "data/manifest/manifest.csv and manifest.parquet are both there, and which one is meant "
        "cannot be known; delete data/manifest and run `dvc repro split`"
    )


def test_a_damaged_parquet_is_refused_or_sound(parquet):
    whole, rng = parquet.read_bytes(), np.random.default_rng(0)
    for _ in range(200):
        content = bytearray(whole)
        for place in rng.integers(0, len(content), rng.integers(1, 4)):
            content[place] = rng.integers(0, 256)
        parquet.write_bytes(
            content if rng.random() < 0.8 else content[: rng.integers(0, len(content))]
        )
        try:
            assert list(read_manifest(parquet).columns) == COLUMNS
        except PipelineError as error:
            assert str(error).startswith(f"{parquet} is damaged")


def test_a_parquet_of_other_columns_or_with_gaps_is_refused(parquet):
    import pyarrow.parquet as pq

    whole = pq.read_table(parquet)
    for other in (
        whole.drop_columns("group"),
        whole.set_column(3, "label", whole["label"].cast("int32")),
    ):
        pq.write_table(other, parquet)
        assert "is damaged (its columns are " in refusal(parquet)
    gaps = whole.set_column(1, "path", [[None, *whole["path"].to_pylist()[1:]]])
    pq.write_table(gaps.cast(whole.schema), parquet)
    assert "values are missing" in refusal(parquet)


def test_what_was_written_is_read_in_order_of_split_and_path(path):
    assert read_manifest(path).to_numpy().tolist() == GOOD.iloc[[3, 2, 4, 0, 1]].to_numpy().tolist()


def test_the_order_of_rows_given_does_not_matter(path, tmp_path):
    write_manifest(GOOD.iloc[::-1], tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_class_names_that_look_like_numbers_or_nothing_stay_text(tmp_path, kind):
    odd = table(
        ("train", "001/1", "001", 0, 0),
        ("validation", "NA/1", "NA", 1, 1),
        ("test", "nan/1", "nan", 2, 2),
    )
    write_manifest(odd, tmp_path / f"odd.{kind}")
    assert class_names(read_manifest(tmp_path / f"odd.{kind}")) == ["001", "NA", "nan"]


def test_rows_labels_and_names_of_a_split(path):
    manifest = read_manifest(path)
    assert split_rows(manifest, "train")["path"].to_dict() == {
        0: "cat/1.png",
        1: 'dog/a "b", c.png',
    }
    assert labels_of(manifest, "train").tolist() == [0, 1]
    assert np.issubdtype(labels_of(manifest, "train").dtype, np.integer)
    assert class_names(manifest) == ["cat", "dog"]


def refusal(path: Path) -> str:
    with pytest.raises(PipelineError) as error:
        read_manifest(path)
    return str(error.value)


def test_a_missing_manifest_says_how_to_get_it(tmp_path):
    assert refusal(tmp_path / "manifest.csv").endswith(
        "manifest.csv is missing; run `dvc repro split` or `dvc pull`"
    )


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
        (lambda text: text[: text.index("validation,")], "no images in validation"),
        (
            edited("label", "lable"),
            "its columns are split, path, class_name, lable, group, sha256 instead of split, path, "
            "class_name, label",
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


WEIGHTED = GOOD.assign(weight=[1.0, 0.5, 3.0, 0.1, 2.0])


@pytest.mark.parametrize("name", ["manifest.csv", "manifest.parquet"])
def test_weights_are_a_further_column(tmp_path, name):
    write_manifest(WEIGHTED, tmp_path / name)
    found = read_manifest(tmp_path / name)
    assert found.set_index("path")["weight"].to_dict() == dict(
        zip(WEIGHTED["path"], WEIGHTED["weight"], strict=True)
    )
    weights = weights_of(found, "train")  # cat/1.png, then dog/a
    assert weights == pytest.approx([0.1 / 1.55, 3 / 1.55])
    assert weights.dtype == np.float32
    write_manifest(GOOD, tmp_path / name)
    assert weights_of(read_manifest(tmp_path / name), "train") is None


@pytest.mark.parametrize("weight", [-1, float("inf"), float("nan")])
def test_weights_that_are_none_are_damage(tmp_path, weight):
    write_manifest(WEIGHTED.assign(weight=weight), tmp_path / "manifest.csv")
    with pytest.raises(PipelineError, match="is damaged"):
        read_manifest(tmp_path / "manifest.csv")


def test_training_images_that_all_weigh_nothing_are_refused():
    with pytest.raises(PipelineError, match="all weights of the train images are 0"):
        weights_of(WEIGHTED.assign(weight=0.0), "train")
