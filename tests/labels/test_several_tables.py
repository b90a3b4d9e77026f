"""Tables that belong together: of one name in several folders, parts of one, lists of splits, those
of Hugging Face, Roboflow and CUB-200."""

import json
from pathlib import Path

import pytest

from tests.helpers.tiny_sources import build
from transfer.labels.find_labels import find_path_labels
from transfer.labels.path_label import LabelColumns, PathLabels
from transfer.labels.table_folders import (
    folders_of_tables,
    read_tables,
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


def test_the_metadata_files_of_a_folder_are_one_table(tmp_path):
    for split, header in (("train", "file_name,label,note"), ("test", "label,file_name")):
        (tmp_path / split).mkdir()
        rows = {"train": "1.png,cat,x\n2.png,dog,y\n", "test": "cat,sub/3.png\n"}[split]
        (tmp_path / split / "metadata.csv").write_text(f"{header}\n{rows}")
    table = read_tables(tmp_path)
    assert table.columns == {
        "label": ["cat", "cat", "dog"],
        "file_name": ["test/sub/3.png", "train/1.png", "train/2.png"],
    }
    (tmp_path / "metadata.csv").write_text("path,label\n1.png,cat\n")
    with pytest.raises(PipelineError, match="has no column 'file_name'"):
        read_tables(tmp_path)


def test_tables_named_after_splits_are_one_with_a_column_of_splits(tmp_path):
    (tmp_path / "train.csv").write_text("id,label\n1,cat\n2,dog\n")
    (tmp_path / "val.csv").write_text("label,id\ndog,3\n")
    (tmp_path / "test.csv").write_text("id\n4\n")
    (tmp_path / "sample_submission.csv").write_text("id,label\n4,cat\n")
    table = read_tables(tmp_path)
    assert table.columns == {
        "id": ["1", "2", "3"],
        "label": ["cat", "dog", "dog"],
        "split": ["train", "train", "validation"],
    }
    assert table.form == (
        "train.csv, val.csv, CSV with commas; without the columns of train.csv and not read: "
        "test.csv"
    )
    (tmp_path / "val.csv").unlink()
    with pytest.raises(PipelineError, match="only train.csv has labels; name it"):
        read_tables(tmp_path)


def test_roboflows_tables_in_the_folders_of_splits_are_one(tmp_path):
    for split in ("train", "valid"):
        (tmp_path / split).mkdir()
        (tmp_path / split / "_classes.csv").write_text(f"filename, cat, dog\n{split}1.jpg, 1, 0\n")
    assert read_tables(tmp_path).columns == {
        "filename": ["train/train1.jpg", "valid/valid1.jpg"],
        "cat": ["1", "1"],
        "dog": ["0", "0"],
    }


def test_of_lists_and_tables_of_splits_those_of_one_form_are_read(tmp_path):
    for split, names in (("train", ["1", "2"]), ("test", ["3"])):
        (tmp_path / f"{split}.txt").write_text("\n".join(f"cat/{name}" for name in names))
        (tmp_path / f"{split}.json").write_text(json.dumps({"cat": names, "dog": ["9" + split]}))
    table = read_tables(tmp_path)
    assert table.columns["split"] == ["test"] * 2 + ["train"] * 3
    assert table.form.startswith("test.json, train.json")


def test_the_lists_of_cub_are_one_table(tmp_path):
    (tmp_path / "images.txt").write_text("1 001.Gull/a b.jpg\n2 002.Tern/c.jpg\n")
    (tmp_path / "image_class_labels.txt").write_text("1 1\n2 2\n")
    (tmp_path / "classes.txt").write_text("1 001.Gull\n2 002.Tern\n")
    (tmp_path / "train_test_split.txt").write_text("1 1\n2 0\n")
    (tmp_path / "bounding_boxes.txt").write_text("1 60.0 27.0 325.0 304.0\n")
    assert read_tables(tmp_path).columns == {
        "path": ["001.Gull/a b.jpg", "002.Tern/c.jpg"],
        "label": ["001.Gull", "002.Tern"],
        "split": ["train", "test"],
    }
    (tmp_path / "images.txt").write_text("1\n")
    with pytest.raises(PipelineError, match="line 1: '1' instead of a number and what belongs"):
        read_tables(tmp_path)
