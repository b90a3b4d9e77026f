"""Splits and classes under the names that people give them."""

import time

import pytest

from transfer.labels.folder_words import name_splits
from transfer.labels.layout import find_layout
from transfer.labels.mask_files import masks_by_name


def paths_in(folders: list[str], classes: str = "cat dog") -> list[str]:
    return [f"{folder}/{name}/1.png" for folder in folders for name in classes.split()]


@pytest.mark.parametrize(
    ("paths", "path", "expected"),
    [
        ("cat/1 dog/1", "cat/deeper/1", (None, "cat")),
        ("cat/1 dog/1 readme.txt", "readme.txt", None),
        ("cat/1 dog/1 ../evil/x /etc/x C:/x/y", "../evil/x", None),
        ("cat/1 dog/1 ../evil/x /etc/x C:/x/y", "/etc/x", None),
        ("cat/1 dog/1 ../evil/x /etc/x C:/x/y", "C:/x/y", None),
        ("cat/1", "cat/1", (None, "cat")),
        ("set/ set/cat/ set/cat/1 set/dog/", "set/cat/1", (None, "cat")),
        ("a/b/c/cat/1 a/b/c/dog/1 readme.txt", "a/b/c/dog/1", (None, "dog")),
        ("set/train/cat/1 set/val/cat/1 readme.txt", "set/train/cat/1", ("train", "cat")),
        ("train/cat/1 val/cat/1 test/cat/1", "train/1", None),
        ("train/cat/1 train/dog/1", "train/dog/1", (None, "dog")),
    ],
)
def test_the_class_and_the_split_of_a_path(paths, path, expected):
    assert find_layout(paths.split(), "set").place(path) == expected


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


@pytest.mark.parametrize(
    ("other", "split"),
    [("Testing", "test"), ("val", "validation"), ("dev", "validation"), ("holdout", "test")],
)
def test_two_folders_of_splits_are_enough(other, split):
    layout = find_layout(paths_in(["Training", other]), "set")
    assert layout.place("Training/cat/1.png") == ("train", "cat")
    assert layout.place(f"{other}/cat/1.png") == (split, "cat")


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
    assert layout.is_split
    assert layout.is_unlabelled("seg_pred/1.png")


def test_other_pictures_beside_splits_are_left_out():
    paths = [*paths_in(["Training", "Test"]), "test-multiple_fruits/1.png", "papers/fig.png"]
    layout = find_layout(paths, "set")
    assert layout.is_split
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


def test_boxes_beside_class_folders_are_passed_over():
    layout = find_layout(["cat/1.jpg", "dog/2.jpg", "Annotation/1.xml", "Annotation/2.xml"], "set")
    assert layout.place("cat/1.jpg") == (None, "cat")


def test_classes_of_splits_are_the_same_in_any_spelling():
    for train, test in (("k\xe4fer", "ka\u0308fer"), ("Cat", "cat"), ("big cat", "big_cat")):
        paths = [f"train/{train}/1.png", "train/dog/1.png", f"test/{test}/1.png"]
        layout = find_layout(paths, "set")
        assert layout.place(f"test/{test}/1.png")[0] == "test"
        assert not layout.is_unlabelled(f"test/{test}/1.png")


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


@pytest.mark.parametrize("name", ["xerox copy", "cat 2", "cat(s)", "copy"])
def test_names_of_copies_without_an_original_are_classes(name):
    layout = find_layout([f"{name}/1.png", "cat/1.png", "dog/1.png"], "set")
    assert layout.place(f"{name}/1.png") == (None, name)


@pytest.mark.parametrize("clutter", [".DS_Store", "._1.png", "@eaDir", "Thumbs.db", ".hidden"])
@pytest.mark.parametrize(
    "paths",
    [
        [f"{name}/{kind}/1.png" for name in ("cat", "dog") for kind in ("images", "masks")],
        [f"{name}/{split}/1.png" for name in ("cat", "dog") for split in ("train", "test")],
        [*paths_in(["train"]), "test1/1.png"],
    ],
)
def test_what_systems_leave_in_folders_is_no_picture_in_them(paths, clutter):
    folders = {"/".join(path.split("/")[:depth]) for path in paths for depth in (1, 2)}
    with_clutter = [*paths, clutter, *(f"{folder}/{clutter}" for folder in folders)]
    assert find_layout(with_clutter, "set") == find_layout(paths, "set")


def test_time_is_in_proportion_to_the_folders():
    paths = [f"mask {number:05}x/1.png" for number in range(8000)]
    started = time.process_time()
    assert find_layout(paths, "set").place(paths[-1]) == (None, "mask 07999x")
    assert time.process_time() - started < 4  # in proportion to its square: minutes
