"""What the names of folders have in common, whatever nobody sees in them."""

import pytest

from transfer.labels.folder_words import is_called_by_programs, is_called_list, spelling_key
from transfer.labels.layout import find_layout


@pytest.mark.parametrize(
    "name", ["Big Cat", "big\u200b cat", "\u202ebig_cat", "ｂｉｇ\u3000cat", "big\u00a0cat "]
)
def test_names_that_look_alike_have_one_key(name):
    assert spelling_key(name) == spelling_key("big cat")


def test_other_letters_have_another_key():
    assert spelling_key("c\u0430t") != spelling_key("cat")
    assert spelling_key("ä") != spelling_key("a")


def test_folders_that_hold_folders_may_be_classes():
    paths = ["photos/2019/1.png", "photos/2020/1.png", "drawings/1.png"]
    assert find_layout(paths, "set").place(paths[0]) == (None, "photos")
    assert is_called_by_programs("results") and not is_called_by_programs("model cars")


def test_lists_of_images_of_any_class_are_told_from_those_of_a_class():
    for name in (
        "train",
        "train_val_list",
        "test_list",
        "image_names",
        "fold_1",
        "filelist",
        "all",
    ):
        assert is_called_list(name)
    for name in ("cats", "train_cats", "cat_list", "1", "a", "trains"):
        assert not is_called_list(name)
