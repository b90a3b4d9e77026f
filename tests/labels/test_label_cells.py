"""Cells of tables as people write them: quotes, colons, what is missing, 1 in a column for each
class, probabilities; and folders that decide what a row or a pattern means."""

import json
import time

import pytest

from tests.labels.test_path_labels import classes, find, refused
from transfer.labels.label_words import one_spelling
from transfer.labels.labels_by_pattern import label_by_pattern

IMAGES = [f"images/{name}.jpg" for name in "abcd"]
NAMED = [("a", ""), ("b", "dog"), ("c", "cat")]
LABELS = dict(zip(IMAGES, ["cat", "dog"] * 2, strict=True))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("'path','label'\n'a.jpg','cat'\n'b.jpg','dog'\n'c.jpg','cat'\n'd.jpg','dog'\n", "x.csv"),
        ("a.jpg: cat\nb.jpg: dog\nc.jpg: cat\nd.jpg: dog\n", "x.yaml"),
        ("a.jpg=cat\nb.jpg = dog\nc.jpg=cat\nd.jpg=dog\n", "x.txt"),
        ("id,cat,dog\na,1,-1\nb,-1,1\nc,1,-1\nd,-1,1\n", "x.csv"),
        ("id,sex,cat,dog\na,m,1.0,\nb,f,,1.0\nc,f,1.0,\nd,m,,1.0\n", "x.csv"),
        (",,id,label\n0,7,a,cat\n1,7,b,dog\n2,7,c,cat\n3,7,d,dog\n", "x.csv"),
    ],
)
def test_labels_are_read_however_they_are_written(tmp_path, text, name):
    assert classes(find(tmp_path, text, IMAGES, name=name)) == LABELS


def test_a_column_without_a_name_may_be_a_class(tmp_path):
    found = find(tmp_path, "id,,dog\na,1,0\nb,0,1\nc,1,0\nd,0,1\n", IMAGES)
    assert classes(found) == dict(zip(IMAGES, ["column 2", "dog"] * 2, strict=True))
    rows = [{"id": name, "": 0, "cat": 0, "dog": 0} | {label: 1} for name, label in NAMED]
    labels = classes(find(tmp_path, json.dumps(rows), IMAGES, name="x.json"))
    assert labels == {IMAGES[1]: "dog", IMAGES[2]: "cat"}


@pytest.mark.parametrize("missing", ["N/A", "NA", "n/a", "NaN", ""])
def test_what_is_missing_is_no_label(tmp_path, missing):
    text = f"path,label\na.jpg,cat\nb.jpg,dog\nc.jpg,{missing}\n"
    found = find(tmp_path, text, IMAGES[:3])
    assert classes(found) == {path: LABELS[path] for path in IMAGES[:2]}
    assert "1 row has no label and is left out: c.jpg (line 4)" in found.remarks


def test_probabilities_are_refused_as_such(tmp_path):
    words = refused(tmp_path, "id,cat,dog\na,0.9,0.1\nb,0,1\n", IMAGES)
    assert "the columns 'cat', 'dog' have numbers between 0 and 1, 0.9 say: probabilities" in words
    assert "which column is the label?" in refused(tmp_path, "id,p,q\na,0.9,7\nb,0,8\n", IMAGES)


def test_a_row_means_the_picture_and_not_its_mask(tmp_path):
    masks = [path.replace("images/", "annotations/trimaps/") for path in IMAGES]
    text = "id,label\n" + "".join(f"{name},{'xy'[name in 'ab']}\n" for name in "abcd")
    assert {*find(tmp_path, text, [*IMAGES, *masks]).labels} == {*IMAGES}


def test_folders_of_splits_are_the_split_of_a_pattern_without_one():
    images = [
        f"{split}/{n}_{name}.jpg" for split in ("train", "test") for n, name in enumerate("xy")
    ]
    found = label_by_pattern(images, r"(?P<label>[a-z])\.jpg$")
    assert found.is_split
    assert [found.labels[path].split for path in images] == ["train"] * 2 + ["test"] * 2
    assert "the folders train, validation and test are the splits" in found.remarks
    assert not label_by_pattern(images, "^(?P<label>[^/]+)/").is_split
    assert not label_by_pattern(images[:2], r"(?P<label>[a-z])\.jpg$").is_split


def test_time_is_in_proportion_to_the_different_labels():
    started = time.process_time()
    assert one_spelling([f"a  {number}" for number in range(40_000)])[0][-1] == "a 39999"
    assert time.process_time() - started < 4  # in proportion to its square: minutes
