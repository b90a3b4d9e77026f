"""Splits and classes under the names that people give them, and what is refused as ambiguous."""

import re

import pytest

from transfer.labels.folder_words import name_splits
from transfer.labels.layout import find_layout
from transfer.labels.mask_files import masks_by_name
from transfer.runtime.errors import PipelineError


def paths_in(folders: list[str], classes: str = "cat dog") -> list[str]:
    return [f"{folder}/{name}/1.png" for folder in folders for name in classes.split()]


def refusal(paths: list[str]) -> str:
    with pytest.raises(PipelineError) as error:
        find_layout(paths, "set")
    assert str(error.value).startswith("split.source = 'set'")
    return str(error.value)


@pytest.mark.parametrize(
    ("train", "validation", "test"),
    [
        ("Training", "Validation", "Testing"),
        ("TRAIN", "VAL", "TEST"),
        ("training_set", "dev_set", "test_set"),
        ("seg_train", "seg_val", "seg_test"),
        ("train2017", "val2017", "test2017"),
        ("trn", "dev", "holdout"),
        ("TrainImages", "ValidImages", "TestImages"),
        ("train data", "eval data", "hold-out data"),
        ("pets-train", "pets-valid", "pets-test"),
        ("1_train", "2_validation", "3_test"),
        ("entrenamiento", "validación", "prueba"),
        ("apprentissage", "validation", "test"),
        ("tr", "va", "te"),
        ("training", "validating", "testing"),
        ("Entrenar", "Validar", "Probar"),
        ("addestramento", "validazione", "prova"),
        ("treningowy", "walidacyjny", "testowy"),
        ("eğitim", "doğrulama", "test"),
        ("обучающая выборка", "валидационная выборка", "тестовая выборка"),
        ("训练集", "验证集", "测试集"),
        ("訓練資料", "驗證資料", "測試資料"),
        ("学習用データ", "検証用データ", "テストデータ"),
        ("학습", "검증", "테스트"),
        ("تدريب", "تحقق", "اختبار"),
        ("train_val", "dev", "test"),
        ("flowerstrain", "flowersval", "flowerstest"),
    ],
)
@pytest.mark.parametrize("root", ["", "a/b/"])
def test_splits_of_any_name_are_splits(root, train, validation, test):
    layout = find_layout(paths_in([root + train, root + validation, root + test]), "set")
    for name, split in ((train, "train"), (validation, "validation"), (test, "test")):
        assert layout.place(f"{root}{name}/cat/1.png") == (split, "cat")
    assert layout.missing_splits == []


@pytest.mark.parametrize(
    ("folders", "missing"),
    [
        (["Training", "Testing"], ["validation"]),
        (["train", "val"], ["test"]),
        (["train", "dev"], ["test"]),
        (["train", "holdout"], ["validation"]),
    ],
)
def test_a_split_that_is_missing_is_named(folders, missing):
    layout = find_layout(paths_in(folders), "set")
    assert layout.is_split
    assert layout.missing_splits == missing


@pytest.mark.parametrize(
    ("train", "other", "split"),
    [
        ("rps", "rps-test-set", "test"),
        ("horse-or-human", "validation-horse-or-human", "validation"),
        ("sports", "sports holdout", "test"),
    ],
)
def test_the_other_one_of_two_folders_is_train(train, other, split):
    layout = find_layout(paths_in([train, other]), "set")
    assert layout.place(f"{train}/cat/1.png") == ("train", "cat")
    assert layout.place(f"{other}/cat/1.png") == (split, "cat")


@pytest.mark.parametrize(
    "folders",
    [
        ["training_set/training_set", "test_set/test_set"],
        ["train/images", "test/pictures"],
        ["data/train/train/train", "data/test"],
    ],
)
def test_doubled_and_wrapping_folders_in_splits_are_looked_through(folders):
    layout = find_layout(paths_in(folders), "set")
    assert layout.place(f"{folders[0]}/dog/1.png") == ("train", "dog")
    assert layout.place(f"{folders[1]}/dog/1.png") == ("test", "dog")


def test_class_folders_that_hold_splits_are_read():
    paths = [f"{name}/{split}/1.png" for name in ("cat", "dog") for split in ("train", "test")]
    layout = find_layout(paths, "set")
    assert [layout.place(path) for path in paths] == [
        ("train", "cat"),
        ("test", "cat"),
        ("train", "dog"),
        ("test", "dog"),
    ]


@pytest.mark.parametrize(
    "folder", ["test", "test1", "seg_pred/seg_pred", "unlabelled", "unlabeled"]
)
def test_pictures_without_labels_beside_train_are_left_out(folder):
    layout = find_layout([*paths_in(["train"]), f"{folder}/1.png", f"{folder}/2.png"], "set")
    assert not layout.is_split
    assert layout.place("train/cat/1.png") == (None, "cat")
    assert layout.is_unlabelled(f"{folder}/1.png")
    assert not layout.is_unlabelled("train/cat/1.png")


def test_pictures_without_labels_beside_splits_are_left_out():
    layout = find_layout([*paths_in(["seg_train", "seg_test"]), "seg_pred/1.png"], "set")
    assert layout.missing_splits == ["validation"]
    assert layout.is_unlabelled("seg_pred/1.png")


def test_other_pictures_beside_splits_are_left_out():
    paths = [*paths_in(["Training", "Test"]), "test-multiple_fruits/1.png", "papers/fig.png"]
    layout = find_layout(paths, "set")
    assert layout.missing_splits == ["validation"]
    assert layout.is_unlabelled("test-multiple_fruits/1.png")
    assert layout.is_unlabelled("papers/fig.png")


@pytest.mark.parametrize("folder", ["annotations", "labels", "train_xml"])
def test_folders_with_text_only_are_no_classes(folder):
    layout = find_layout([*paths_in(["train", "val", "test"]), f"{folder}/1.xml"], "set")
    assert layout.place("train/cat/1.png") == ("train", "cat")
    layout = find_layout(["cat/1.png", "dog/1.png", f"{folder}/1.json", f"{folder}/"], "set")
    assert layout.place(f"{folder}/") is None
    assert layout.place("cat/") == (None, "cat")


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
    ],
)
def test_splits_that_are_not_each_once_are_refused(folders, words):
    assert words in refusal(paths_in(folders))


@pytest.mark.parametrize(
    "names",
    [
        ["train", "bus"],
        ["train_station", "test_strip"],
        ["trains", "buses"],
        ["training wheels", "bicycle"],
        ["valve", "pump"],
        ["dev", "ops"],
    ],
)
def test_classes_that_sound_like_splits_are_classes(names):
    layout = find_layout([f"{name}/{i}.png" for name in names for i in range(3)], "set")
    assert [layout.place(f"{name}/1.png") for name in names] == [(None, name) for name in names]


def test_views_below_classes_are_no_classes():
    layout = find_layout(["cat/images/1.png", "dog/images/1.png"], "set")
    assert layout.place("cat/images/1.png") == (None, "cat")


def test_both_unicode_forms_of_a_name_are_one_class():
    paths = ["k\xe4fer/1.png", "ka\u0308fer/2.png", "dog/1.png"]
    layout = find_layout(paths, "set")
    assert {layout.place(path)[1] for path in paths} == {"k\xe4fer", "dog"}


def test_names_are_judged_by_whole_words():
    assert name_splits(["test set", "trainee", "valid-ish"]) == {"test set": "test"}


def test_each_class_may_spell_its_splits_in_its_own_way():
    paths = ["cat/train/1.png", "cat/test/1.png", "dog/Train/1.png", "dog/TEST/1.png"]
    layout = find_layout(paths, "set")
    assert layout.place("cat/train/1.png") == ("train", "cat")
    assert layout.place("dog/TEST/1.png") == ("test", "dog")
    words = refusal([*paths, "dog/training/1.png"])
    assert "but in 'dog' into the folders TEST, Train, training" in words


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


@pytest.mark.parametrize(
    "names",
    [
        ["with_mask", "without_mask"],
        ["00000", "00001"],
        ["c0", "c1"],
        ["class_1", "class_2"],
        ["original", "forgery"],
        ["part", "whole"],
        ["trainer", "tester"],
    ],
)
def test_classes_that_sound_like_parts_or_masks_are_classes(names):
    layout = find_layout([f"{name}/{i}.png" for name in names for i in range(2)], "set")
    assert [layout.place(f"{name}/1.png") for name in names] == [(None, name) for name in names]


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


def test_boxes_beside_class_folders_are_passed_over():
    layout = find_layout(["cat/1.jpg", "dog/2.jpg", "Annotation/1.xml", "Annotation/2.xml"], "set")
    assert layout.place("cat/1.jpg") == (None, "cat")


def test_classes_of_splits_are_the_same_in_any_spelling():
    for train, test in (("k\xe4fer", "ka\u0308fer"), ("Cat", "cat"), ("big cat", "big_cat")):
        paths = [f"train/{train}/1.png", "train/dog/1.png", f"test/{test}/1.png"]
        layout = find_layout(paths, "set")
        assert layout.place(f"test/{test}/1.png")[0] == "test"
        assert not layout.is_unlabelled(f"test/{test}/1.png")


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


@pytest.mark.parametrize("inside", ["", "train/"])
def test_unlabelled_pictures_beside_classes_are_no_class(inside):
    paths = [*paths_in([inside.strip("/")] if inside else ["."]), f"{inside}unlabeled/1.png"]
    paths = [path.removeprefix("./") for path in paths]
    paths += paths_in(["test"]) if inside else []
    layout = find_layout(paths, "set")
    assert layout.is_unlabelled(f"{inside}unlabeled/1.png")
    assert layout.place(f"{inside}unlabeled/1.png") is None
    two = find_layout(["unknown/1.png", "unlabeled/1.png"], "set")
    assert two.place("unlabeled/1.png") == (None, "unlabeled")


@pytest.mark.parametrize("inside", ["", "train/"])
def test_masks_inside_class_folders_are_no_pictures(inside):
    paths = [
        f"{inside}{name}/{kind}/1.png" for name in ("cat", "dog") for kind in ("images", "masks")
    ]
    paths += [f"{inside}bird/1.png"] + (["test/cat/2.png"] if inside else [])
    layout = find_layout(paths, "set")
    split = "train" if inside else None
    assert layout.place(f"{inside}cat/images/1.png") == (split, "cat")
    assert layout.place(f"{inside}bird/1.png") == (split, "bird")
    assert layout.is_mask(f"{inside}cat/masks/1.png")
    assert layout.place(f"{inside}cat/masks/1.png") is None


def test_masks_called_as_the_picture_beside_them_are_found():
    pictures = [f"benign/{i}.png" for i in range(4)]
    masks = ["benign/0_mask.png", "benign/1_mask.png", "benign/1_mask_1.png", "benign/2-seg.jpg"]
    assert masks_by_name([*pictures, *masks]) == {*masks}
    by_chance = ["face/a.png", "face/a_mask.png", "face/b.png", "face/c_mask.png"]
    assert masks_by_name(by_chance) == set()


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


@pytest.mark.parametrize("name", ["xerox copy", "cat 2", "cat(s)", "copy"])
def test_names_of_copies_without_an_original_are_classes(name):
    layout = find_layout([f"{name}/1.png", "cat/1.png", "dog/1.png"], "set")
    assert layout.place(f"{name}/1.png") == (None, name)
