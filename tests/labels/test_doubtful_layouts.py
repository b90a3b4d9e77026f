"""Folders of which it is doubtful what the classes are: refused, with what a person can do."""

import re

import pytest

from tests.labels.test_layout import paths_in
from transfer.labels.layout import find_layout
from transfer.runtime.errors import PipelineError


def refusal(paths: list[str]) -> str:
    with pytest.raises(PipelineError) as error:
        find_layout(paths, "set")
    assert str(error.value).startswith("split.source = 'set'")
    return str(error.value)


@pytest.mark.parametrize("paths", [[], ["1.png", "2.png"], ["readme.txt"]])
def test_a_source_without_folders_is_refused(paths):
    assert "holds no class folders; put each class's images in a folder" in refusal(paths)


def test_splits_inside_a_class_that_are_not_each_once_are_refused():
    paths = ["cat/train/1.png", "cat/test/1.png", "dog/Train/1.png", "dog/TEST/1.png"]
    words = refusal([*paths, "dog/training/1.png"])
    assert "but in 'dog' into the folders TEST, Train, training" in words


@pytest.mark.parametrize(
    "paths",
    [
        ["train/cat.0.jpg", "train/dog.0.jpg", "test1/1.jpg"],
        ["train/cat.0.jpg", "train/dog.0.jpg"],
        ["data/Training/cat_1.jpg", "data/Testing/cat_2.jpg"],
    ],
)
def test_labels_in_file_names_are_refused_and_the_parameter_is_named(paths):
    words = refusal(paths)
    assert "split.label_pattern, a regular expression with the group `label`" in words
    assert "split.labels names a table" in words


@pytest.mark.parametrize(
    "folders",
    [["fold1", "fold2", "fold3"], ["a", "b"], ["train", "extra"], ["Training", "PublicTest"]],
)
def test_folders_that_all_hold_the_same_folders_are_ambiguous(folders):
    words = refusal(paths_in(folders))
    assert "each hold the folders 'cat', 'dog'" in words
    assert "split.label_pattern" in words


@pytest.mark.parametrize(
    ("folders", "words"),
    [
        (["val", "test"], "into the folders test, val, of which none is train; add it"),
        (["train", "train2", "test"], "it needs train, validation (or val, valid, dev) and test"),
        (["train", "val", "dev"], "each once and nothing beside them"),
        (["train", "val", "test", "annotations"], "into the folders annotations, test, train, val"),
    ],
)
def test_splits_that_are_not_each_once_are_refused(folders, words):
    assert words in refusal(paths_in(folders))


@pytest.mark.parametrize(
    "names",
    [
        ["images", "masks"],
        ["JPEGImages", "SegmentationClass", "SegmentationObject"],
        ["train_images", "train_masks"],
        ["img", "gt"],
    ],
)
@pytest.mark.parametrize("inside", ["", "train/"])
def test_pictures_and_their_masks_are_no_classes(names, inside):
    paths = [f"{inside}{name}/{i}.png" for name in names for i in range(2)]
    paths += [f"test/{name}/1.png" for name in names] if inside else []
    assert "are pictures and their masks or labels by their names" in refusal(paths)


@pytest.mark.parametrize(
    "names",
    [
        ["HAM10000_images_part_1", "HAM10000_images_part_2"],
        ["images_001/images", "images_002/images"],
        ["partA", "partB"],
        ["batch1", "batch 2", "Batch-3"],
    ],
)
def test_parts_of_one_set_are_no_classes(names):
    words = refusal([f"{name}/{i}.png" for name in names for i in range(2)])
    assert "are parts of one set by their names" in words
    assert "split.labels" in words


BOXES = {
    "YOLO's": "images/train/1.jpg images/val/2.jpg labels/train/1.txt labels/val/2.txt",
    "YOLO's, other": "train/images/1.jpg train/labels/1.txt val/images/2.jpg val/labels/2.txt",
    "Pascal VOC's": "JPEGImages/1.jpg JPEGImages/2.jpg Annotations/1.xml Annotations/2.xml",
    "COCO's": "train2017/1.jpg val2017/2.jpg annotations/instances_train2017.json",
    "COCO's, of Roboflow": "train/1.jpg valid/2.jpg train/_annotations.coco.json",
    "a table": "train/1.jpg valid/2.jpg train/_annotations.csv",
}


@pytest.mark.parametrize("kind", BOXES)
def test_data_for_detection_is_refused_as_such(kind):
    words = refusal(BOXES[kind].split())
    assert f"{kind.partition(',')[0]} " in words
    assert "data for the detection of objects. Here each image has one class" in words


def test_folders_of_masks_with_the_same_classes_are_refused_as_masks():
    assert "are pictures and their masks" in refusal(paths_in(["images", "masks"]))


def test_a_split_with_other_classes_than_train_is_not_left_out_silently():
    paths = paths_in(["train"], "cats dogs") + paths_in(["test"])
    words = refusal(paths)
    assert "the folder 'test' holds the folders 'cat', 'dog', and train holds others, 'cats', " in (
        words
    )


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        (
            paths_in([f"fold{i}/{split}" for i in (1, 2) for split in ("train", "val")]),
            "the folders 'fold1', 'fold2' are split, and their splits each hold the folders 'cat',",
        ),
        (
            paths_in(["data_256/a", "data_256/b"]) + ["val_256/1.png"],
            "'val_256' is the name of a split and holds images but no class folders, and beside it "
            "'data_256' hold folders: labels may be in a table",
        ),
        (
            ["cat/1.png", "dog/1.png", *paths_in(["old"])],
            "the folder 'old' holds the folders 'cat', 'dog', as the folders beside it are called",
        ),
        (
            ["cat/1.png", "dog/1.png", *paths_in(["validation"])],
            "the folder 'validation' is the name of a split and holds the folders 'cat', 'dog', as "
            "the folders beside it are called: put these into a folder train beside it",
        ),
        (
            paths_in(["raw", "processed/train", "processed/test"]),
            "the folder 'processed' is split itself, and no class beside the others",
        ),
        (
            paths_in([f"{root}{split}" for root in ("", "set/") for split in ("train", "test")]),
            "'set' is split itself, perhaps a copy: give it alone, or move it away",
        ),
        (
            [f"{name}/1.png" for name in ("cat", "dog", "test_images")],
            "'test_images' is the name of a split and holds images but no class folders, and "
            "beside it lie 'cat', 'dog': if it has images without labels, move it out",
        ),
        (
            [f"{name}/1.png" for name in ("benign", "benign_masks", "malignant")],
            "the folder 'benign_masks' is called as the masks of 'benign' beside it: move the",
        ),
        (
            [f"train/{name}/1.png" for name in ("cell", "gt cell", "dog")] + paths_in(["test"]),
            "the folder 'gt cell' is called as the masks of 'cell' beside it",
        ),
        (
            ["a/abbey/1.png", "a/alley/1.png", "b/bar/1.png"],
            "the folders 'a', 'b' hold the folders that begin with these letters, and are no",
        ),
        (
            [f"patient{i}/{i}.png" for i in range(4)],
            "the folders 'patient0', 'patient1', 'patient2', 'patient3' are parts of one set",
        ),
    ],
)
def test_folders_around_the_classes_are_no_classes(paths, words):
    assert words in refusal(paths)


@pytest.mark.parametrize(
    "name", ["{split}_{label}", "{label}-{split}", "data/{split} {label}", "data/{label}.{split}"]
)
def test_a_pattern_is_given_that_reads_split_and_class_from_one_name(name):
    folders = {
        (split, label): name.format(split=split, label=label)
        for split in ("train", "test")
        for label in ("big cat", "dog")
    }
    words = refusal([f"{folder}/{i}.png" for folder in folders.values() for i in range(2)])
    pattern = words.split("the path (")[1].split(" reads split")[0].strip("'").replace("\\\\", "\\")
    for (split, label), folder in folders.items():
        assert re.search(pattern, f"{folder}/1.png").groupdict() == {"split": split, "label": label}


@pytest.mark.parametrize("copy", ["cat - Copy", "cat copy 2", "cat (2)", "Cat_old", "cat - Kopie"])
def test_copies_of_a_class_are_no_classes(copy):
    words = refusal([f"{name}/1.png" for name in ("cat", "dog", copy)])
    assert f"the folder {copy!r} is called as a copy of" in words


def test_a_folder_around_the_classes_is_refused_whatever_systems_leave_in_it():
    assert "'data' holds the folders" in refusal(
        [*paths_in(["data"]), "data/.DS_Store", "results/1.png"]
    )


def test_a_folder_of_the_classes_of_train_is_no_other_class():
    paths = [f"{folder}/{name}/1.png" for folder in ("train", "val", "predict") for name in "ab"]
    assert "'predict' holds the folders 'a', 'b', as train does" in refusal(paths)


@pytest.mark.parametrize(
    ("holder", "beside"),
    [("data", "venv/lib"), ("Dataset", "other"), ("images", "results"), ("top/data_set", "top/b")],
)
def test_a_folder_that_holds_the_classes_is_no_class_beside_others(holder, beside):
    paths = [f"{holder}/{name}/1.png" for name in ("cat", "dog")]
    words = refusal([*paths, f"{beside}/1.png"])
    assert f"the folder {holder!r} holds the folders 'cat', 'dog', which may be" in words
    top = "^top/" if "/" in holder else "^"
    assert words.endswith(f"split.label_pattern to '{top}(?P<label>[^/]+)/'")
    assert find_layout(paths, "set").place(paths[0]) == (None, "cat")
