"""Columns of a table that say by yes and no, or by numbers, which images a split has."""

import pytest

from tests.labels.test_path_labels import find

IMAGES = ["a.jpg", "b.jpg", "c.jpg"]


@pytest.mark.parametrize(
    ("header", "cells", "splits"),
    [
        ("is_valid", ["False", "False", "True"], ["train", "train", "validation"]),
        ("isTest", ["0", "1", "0"], ["train", "test", "train"]),
        ("is valid,is_test", ["no,no", "yes,no", "no,yes"], ["train", "validation", "test"]),
        ("partition", ["0", "1", "2"], ["train", "validation", "test"]),
        ("is_train", ["1", "0", "1"], ["train", "test", "train"]),
        ("train", ["True", "False", "True"], ["train", "test", "train"]),
        ("Test,val", ["0,0", "1,0", "0,1"], ["train", "test", "validation"]),
    ],
)
def test_columns_of_yes_and_no_are_splits(tmp_path, header, cells, splits):
    rows = [
        f"{name}.jpg,{label},{cell}" for name, label, cell in zip("abc", "xyx", cells, strict=True)
    ]
    text = "\n".join([f"name,label,{header}", *rows])
    found = find(tmp_path, text, IMAGES)
    assert found.is_split
    assert [found.labels[path].split for path in IMAGES] == splits
    assert "(guessed)" in found.remarks[0].rsplit("split in column", 1)[1]
    given = find(tmp_path, text, IMAGES, split=header.split(",")[0])
    assert given.labels == found.labels
    assert "(guessed)" not in given.remarks[0].rsplit("split in column", 1)[1]


def test_numbers_in_a_column_of_another_name_are_no_splits(tmp_path):
    text = "name,label,fold,is_valid\na.jpg,x,0,maybe\nb.jpg,y,1,no\n"
    assert not find(tmp_path, text, ["a.jpg", "b.jpg"]).is_split


def test_classes_called_as_splits_are_classes_in_a_table_with_a_column_for_each(tmp_path):
    found = find(tmp_path, "name,train,bus\na.jpg,1,0\nb.jpg,0,1\n", ["a.jpg", "b.jpg"])
    assert not found.is_split
    assert [found.labels[path].class_name for path in IMAGES[:2]] == ["train", "bus"]


@pytest.mark.parametrize("wrapper", ["", "top/", "a/b/"])
def test_folders_of_splits_below_folders_that_all_share_are_the_splits(tmp_path, wrapper):
    images = [f"{wrapper}{split}/{name}.jpg" for split in ("train", "valid") for name in "xy"]
    text = "path,label\n" + "".join(f"{path},{path[-5]}\n" for path in images)
    found = find(tmp_path, text, images)
    assert found.is_split
    assert {path: label.split for path, label in found.labels.items()} == dict(
        zip(images, ["train", "train", "validation", "validation"], strict=True)
    )
