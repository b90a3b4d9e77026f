"""Scanned files in columns."""

import numpy as np
import pytest

from transfer.decoding.value_ranges import ValueRange
from transfer.sources.scanned_file import ScannedFile, ScannedFiles, companions

RANGE = ValueRange("unsigned", 0, 900, (0, 1023))
FILES = [
    ScannedFile("b/2.png", sha256="0a" * 32, perceptual="ffffffffffffffff", class_name="b"),
    ScannedFile("b/broken.png", problem="cut off"),
    ScannedFile(
        "a/1.tif",
        sha256=64 * "0",
        perceptual=16 * "0",
        class_name="a",
        split="train",
        value_range=RANGE,
        tiff_alpha=True,
        alpha=False,
        remarks=("scaled",),
    ),
    ScannedFile("a/0.png", sha256="ff" * 32, perceptual="00000000000000ff", class_name="b"),
]


def test_files_come_back_as_they_were_added():
    files = ScannedFiles(FILES)
    assert [*files] == FILES == [files[row] for row in range(len(files))]
    assert [*ScannedFiles()] == []
    assert files.has_problem.tolist() == [False, True, False, False]
    assert files.classes == ["", "a", "b"]
    assert files.labels.tolist() == [2, 0, 1, 2]
    assert files.perceptual.tolist() == [2**64 - 1, 0, 0, 255]
    assert bytes(files.sha256[0]).hex() == FILES[0].sha256


def test_files_are_chosen_ordered_and_left_out():
    files = ScannedFiles(FILES)
    assert [*files.take(np.array([3, 0]))] == [FILES[3], FILES[0]]
    assert [*files.by_path(np.array([0, 2, 3]))] == [FILES[3], FILES[2], FILES[0]]
    assert [*files.without({"b/2.png", "a/1.tif"})] == [FILES[1], FILES[3]]
    assert files.take(np.array([0, 3])).classes == ["b"]


def test_places_and_names_change_and_the_files_before_do_not():
    files = ScannedFiles(FILES)
    places = [("test", "x"), None, None, (None, "y")]
    placed = [*files.placed(places, otherwise="in no folder")]
    assert [file.problem for file in placed] == [None, "cut off", "in no folder", None]
    assert [(file.split, file.class_name) for file in placed] == [
        ("test", "x"),
        (None, ""),
        (None, ""),
        (None, "y"),
    ]
    assert placed[2].value_range == RANGE
    assert [file.class_name for file in files.renamed({"b": "a"})] == ["a", "", "a", "a"]
    assert [*files.renamed({"b": "a"}).splits()] == [None, None, "train", None]
    assert [*files] == FILES


@pytest.mark.parametrize(
    "changes", [{"sha256": "00"}, {"sha256": 64 * "x"}, {"perceptual": "00"}, {"sha256": None}]
)
def test_hashes_that_are_none_are_refused_and_leave_the_columns_whole(changes):
    files = ScannedFiles(FILES)
    with pytest.raises((ValueError, TypeError)):
        files.append(ScannedFile("c/1.png", **changes))
    assert [*files] == FILES


def test_companions_are_called_as_an_image_beside_them():
    others = ["a/1.cr2", "a/2.mov", "a/1.png", "b/1.cr2"]
    assert companions(["a/1.jpg", "c/2.jpg"], others) == {"a/1.cr2"}
    assert companions(["a/1.jpg"], []) == set()
