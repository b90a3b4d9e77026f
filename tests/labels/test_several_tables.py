"""Tables that belong together: of one name in several folders, parts of one, lists of splits."""

from pathlib import Path

import pytest

from tests.helpers.tiny_sources import build
from transfer.labels.path_label import LabelColumns, PathLabels
from transfer.labels.path_labels import find_path_labels
from transfer.labels.table_folders import (
    folders_of_tables,
    several_sets_of_splits,
    tables_of_splits,
)
from transfer.runtime.errors import PipelineError

COLUMNS = LabelColumns(**dict.fromkeys(LabelColumns.model_fields))


def labels_of(folder: Path, tables: dict[str, str], images: list[str]) -> PathLabels:
    build(folder, {name: text.encode() for name, text in tables.items()})
    assert folder in folders_of_tables([folder / name for name in tables], folder)
    return find_path_labels(images, [], str(folder), str(folder), COLUMNS, None)


@pytest.mark.parametrize(
    ("name", "inside", "form"),
    [
        ("labels.csv", "", "id,label\n0,{}\n1,{}\n"),
        ("annotations.csv", "images/", "path,label\n0.jpg,{}\n1.jpg,{}\n"),
        ("gt.txt", "", "0.jpg {}\n1.jpg {}\n"),
        ("labels.json", "images/", '{{"0.jpg": "{}", "1.jpg": "{}"}}'),
    ],
)
def test_tables_of_one_name_in_several_folders_are_one(tmp_path, name, inside, form):
    splits = {"train": ("cat", "dog"), "valid": ("dog", "cat")}
    images = [f"{split}/{inside}{number}.jpg" for split in splits for number in "01"]
    tables = {f"{split}/{name}": form.format(*labels) for split, labels in splits.items()}
    found = labels_of(tmp_path, tables, images)
    assert {path: label.class_name for path, label in found.labels.items()} == dict(
        zip(images, ["cat", "dog", "dog", "cat"], strict=True)
    )
    assert [found.labels[path].split for path in images] == ["train"] * 2 + ["validation"] * 2


def test_tables_that_are_parts_of_one_are_read_together(tmp_path):
    tables = {f"fold{k}.csv": f"path,label\n{k}a.jpg,cat\n{k}b.jpg,dog\n" for k in range(3)}
    images = [f"im/{k}{name}.jpg" for k in range(3) for name in "ab"]
    found = labels_of(tmp_path, tables, images)
    assert {*found.labels} == {*images}
    assert not found.is_split


def test_a_list_of_train_and_validation_gives_way_to_those_of_each(tmp_path):
    rows = {"train": "0 1", "val": "2 3", "test": "4 5", "trainval": "0 1 2 3"}
    tables = {
        f"{name}.txt": "".join(f"{n}.jpg {int(n) % 2}\n" for n in numbers.split())
        for name, numbers in rows.items()
    }
    images = [f"{n}.jpg" for n in range(6)]
    found = labels_of(tmp_path, tables, images)
    assert [found.labels[path].split for path in images] == [
        *("train", "train", "validation", "validation", "test", "test"),
    ]
    (tmp_path / "train.txt").unlink()
    (tmp_path / "val.txt").unlink()
    del tables["train.txt"], tables["val.txt"]
    assert labels_of(tmp_path, tables, images).labels["2.jpg"].split == "train"


def test_a_row_of_a_split_means_the_file_in_its_folder(tmp_path):
    tables = {f"y_{split}.csv": "id,label\n0,cat\n1,dog\n" for split in ("train", "test")}
    images = [f"X_{split}/{number}.jpg" for split in ("train", "test") for number in "01"]
    assert {*labels_of(tmp_path, tables, images).labels} == {*images}


def test_several_sets_of_splits_are_refused(tmp_path):
    kinds = ("family", "variant")
    tables = {
        f"images_{kind}_{split}.txt": "1 x\n" for kind in kinds for split in ("train", "test")
    }
    with pytest.raises(PipelineError, match="several sets of tables named after splits: put those"):
        labels_of(tmp_path, tables, ["1.jpg"])
    one = {name: text for name, text in tables.items() if "family" in name}
    plain = [tmp_path / f"{split}.txt" for split in ("train", "test")]
    for names in ([tmp_path / name for name in one], [*plain, *(tmp_path / name for name in one)]):
        assert several_sets_of_splits(names) == []
    assert {*tables_of_splits([*plain, *(tmp_path / name for name in one)])} == {*plain}
