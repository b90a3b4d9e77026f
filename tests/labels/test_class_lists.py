"""Lists of paths that are named by their classes, and notes called as their pictures."""

import json
from pathlib import Path

import pytest

from tests.helpers.tiny_sources import build
from transfer.labels.find_labels import find_path_labels
from transfer.labels.path_label import LabelColumns
from transfer.labels.picture_notes import describe_boxed, notes_among, read_notes
from transfer.labels.table_folders import read_tables
from transfer.runtime.errors import PipelineError

VOC = "<annotation><object><name>{}</name><part><name>head</name></part></object></annotation>"


def table_in(folder: Path, files: dict[str, str]) -> dict[str, list[str | None]]:
    build(folder, {name: text.encode() for name, text in files.items()})
    return read_tables(folder).columns


@pytest.mark.parametrize(
    ("files", "label"),
    [
        ({"cats.txt": "a/1.jpg\na/2.jpg\n", "dogs.txt": "a/3.jpg\n"}, "cats cats dogs"),
        ({"cats.csv": "path\na/1.jpg\na/2.jpg\n", "dogs.csv": "file\na/3.jpg\n"}, "cats cats dogs"),
        ({"c 1.lst": "a/1.jpg\r\n'a/2.jpg'", "d.lst": "a/3.jpg", "readme.txt": "x"}, "c_1 c_1 d"),
    ],
)
def test_lists_of_paths_are_named_by_their_classes(tmp_path, files, label):
    assert table_in(tmp_path, files) == {
        "path": ["a/1.jpg", "a/2.jpg", "a/3.jpg"],
        "label": [name.replace("_", " ") for name in label.split()],
    }


def test_lists_of_names_without_suffixes_are_read_and_names_of_classes_are_no_list(tmp_path):
    files = {"cats.txt": "0001\n0002\n", "dogs.txt": "0003\n", "classes.txt": "n01\nn02\n"}
    assert table_in(tmp_path, files) == {
        "path": ["0001", "0002", "0003"],
        "label": ["cats", "cats", "dogs"],
    }


@pytest.mark.parametrize(
    "names",
    [
        ["train_cats", "train_dogs", "test_cats", "test_dogs"],
        ["cats-train", "dogs-train", "cats-test", "dogs-test"],
    ],
)
def test_lists_may_be_named_by_split_and_class(tmp_path, names):
    found = table_in(tmp_path, {f"{name}.txt": f"{name}.jpg\n" for name in names})
    rows = {*zip(found["path"], found["label"], found["split"], strict=True)}
    assert rows == {
        (f"{name}.jpg", "cats" if "cats" in name else "dogs", "train" if "tra" in name else "test")
        for name in names
    }


def test_lists_of_splits_beside_those_of_classes_are_the_split(tmp_path):
    files = {"cat.txt": "1.jpg\n2.jpg\n", "dog.txt": "3.jpg\n", "train.txt": "1.jpg\n3.jpg\n"}
    found = table_in(tmp_path, files | {"test.txt": "2.jpg\n"})
    assert found["split"] == ["train", "test", "train"]
    (tmp_path / "test.txt").unlink()
    assert "split" not in read_tables(tmp_path).columns


def test_lists_of_images_of_any_class_say_no_class(tmp_path):
    files = {"train_val_list.txt": "1.jpg\n2.jpg\n", "test_list.txt": "3.jpg\n"}
    with pytest.raises(PipelineError, match="divides its lines"):
        table_in(tmp_path, files)


@pytest.mark.parametrize(
    ("suffix", "texts"),
    [
        (".txt", ["cat\n", "big dog", ""]),
        (".cls", ["cat", "big dog", " "]),
        (".json", ['{"label": "cat"}', '{"x": 1, "Class": ["big dog"]}', '{"label": null}']),
        (
            ".json",
            [
                json.dumps({"flags": {"cat": cat, "big dog": dog}, "shapes": []})
                for cat, dog in ((True, False), (False, True), (False, False))
            ],
        ),
    ],
)
def test_notes_called_as_the_pictures_have_their_labels(tmp_path, suffix, texts):
    notes = {f"in/{number}{suffix}": text for number, text in enumerate(texts)}
    pictures = dict.fromkeys(["in/0.jpg", "in/1.jpg", "in/2.png"], "")
    found = table_in(tmp_path, notes | pictures | {"classes.txt": "cat\nbig dog\n"})
    assert found == {"path": ["in/0", "in/1", "in/2"], "label": ["cat", "big dog", None]}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("1.xml", VOC.format("cat &amp; dog")),
        ("1.txt", "7 0.5 0.5 0.25 1e-05\n7 .5 .5 .1 .1\n"),
        ("1.json", '{"flags": {}, "shapes": [{"label": "cat & dog"}, {"label": "cat & dog"}]}'),
    ],
)
def test_boxes_of_one_class_are_its_label_if_the_folder_is_named(tmp_path, name, text):
    build(tmp_path, {name: text.encode()})
    notes = read_notes([tmp_path / name], tmp_path, None)
    assert notes.of_boxes
    assert notes.table.columns["label"] == ["7" if name == "1.txt" else "cat & dog"]
    assert "here --labels set/boxes" in describe_boxed(notes, "set/boxes")
    assert read_tables(tmp_path).form.endswith("with boxes or outlines of one class in each")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"1.txt": "cat\ndog\n"}, "1 of the 1 .txt files beside the pictures have several labels"),
        ({"1.xml": VOC.format("a") + VOC.format("b")}, "objects of several classes, such as"),
        ({"1.txt": "a photo of " + "x" * 100}, "is a text, and no label: 'a photo of"),
        ({"1.json": '{"title": 1, "views": 2}'}, "JSON with 'title', 'views', of which none is"),
        ({"1.json": "["}, "is no JSON object with a label"),
        ({f"{i}.txt": f"picture {i}\n" for i in range(9)}, "9 different texts, 'picture 0' say"),
    ],
)
def test_notes_that_are_no_single_labels_are_refused(tmp_path, files, message):
    with pytest.raises(PipelineError) as error:
        table_in(tmp_path, files)
    assert message in str(error.value)


def test_notes_are_those_that_half_of_the_images_have():
    images = ["a/1.jpg", "a/2.png", "a/3.jpg"]
    assert notes_among(["b/1.txt", "a/2.txt", "a/1.json", "x.txt"], images) == [
        "a/2.txt",
        "b/1.txt",
    ]
    assert notes_among(["a/1.jpg.json", "a/3.jpg.json"], images) == ["a/1.jpg.json", "a/3.jpg.json"]
    assert notes_among(["a/1.txt"], images) == []


@pytest.mark.parametrize("name", ["1.txt", "labels.csv"])
def test_an_archive_whose_notes_or_tables_are_all_empty_is_refused(tmp_path, name):
    source = str(build(tmp_path / "set.zip", {"1.jpg": b"x", name: b""}))
    columns = LabelColumns(**dict.fromkeys(LabelColumns.model_fields))
    with pytest.raises(PipelineError, match=rf"{name} names no image of '.*set\.zip'"):
        find_path_labels(["1.jpg"], [], source, source, columns, None, [name])


@pytest.mark.parametrize("spelling", ["{}/set.zip", "{}/./set.zip", "{}/x/../set.zip"])
def test_the_table_in_the_archive_of_the_images_is_read_however_its_path_is_written(
    tmp_path, spelling
):
    (tmp_path / "x").mkdir()
    images = [f"{number}.jpg" for number in range(4)]
    table = "path,label\n" + "".join(f"{path},{'cd'[i % 2]}\n" for i, path in enumerate(images))
    files = dict.fromkeys(images, b"x") | {"labels.csv": table.encode()}
    source = str(build(tmp_path / "set.zip", files))
    columns = LabelColumns(**dict.fromkeys(LabelColumns.model_fields))
    labels = spelling.format(tmp_path)
    found = find_path_labels(images, [], source, labels, columns, None, ["labels.csv"])
    assert [found.labels[path].class_name for path in images] == ["c", "d", "c", "d"]
