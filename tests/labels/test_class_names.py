"""Names of classes that are numbers or codes, as files beside the images have them."""

import json

import pytest

from tests.helpers.split_stage import refusal, run_split
from tests.helpers.tiny_sources import build, class_folders
from transfer.dataset.notes_file import read_notes
from transfer.labels.class_names import names_of_classes

NAMES = ["tench", "great white shark"]
FILES = {
    "a name in each line, from 0": ("0 1", "tench\ngreat white shark\n"),
    "a name in each line, from 1": ("1 2", "tench\r\ngreat white shark"),
    "CUB's": ("1 2", "1 tench\n2 great white shark\n"),
    "Places'": ("0 1", "tench 0\ngreat white shark 1\n"),
    "ImageNet's synsets": ("n01 n02", "n01 tench\nn02 great white shark\nn03 other\n"),
    "tabs": ("n01 n02", "n01\ttench\nn02\tgreat white shark\n"),
    "a CSV with a header": ("0 1", "ClassId,Name\n0,tench\n1,great white shark\n2,x\n"),
    "zeros in front": ("00 01", "tench\ngreat white shark\n"),
    "JSON, names by numbers": ("0 1", json.dumps(dict(enumerate(NAMES)))),
    "JSON, numbers by names": ("0 1", json.dumps({name: i for i, name in enumerate(NAMES)})),
    "JSON, a list": ("0 1", json.dumps(NAMES)),
    "Keras's index of ImageNet": (
        "n01 n02",
        json.dumps({"0": ["n01", "tench"], "1": ["n02", "great white shark"]}),
    ),
}


@pytest.mark.parametrize("kind", FILES)
def test_files_of_names_as_people_have_them(kind):
    classes, text = FILES[kind]
    assert names_of_classes(text.encode(), classes.split()) == dict(
        zip(classes.split(), NAMES, strict=True)
    )


@pytest.mark.parametrize(
    "text",
    [
        "tench\nshark\nray\n",  # more names than classes: which are meant?
        "a.jpg,0\nb.jpg,1\n",
        "a 0\nb 0\nc 1\n",
        "1 tench\n2 shark\n",  # no 0
        "0 tench\n1 tench\n",
        json.dumps({"0": "tench"}),
        json.dumps({"0": {"name": "tench"}}),
        json.dumps([[0, 1]]),
        "",
    ],
)
def test_files_that_do_not_name_each_class_otherwise_are_none(text):
    assert names_of_classes(text.encode(), ["0", "1"]) is None


@pytest.mark.parametrize("kind", ["set", "set.zip"])
def test_split_names_the_classes_by_a_file_in_the_source(project, kind):
    files = {f"data/{path}": each for path, each in class_folders(**{"0": 5, "1": 5}).items()}
    source = build(project / kind, files | {"data/classes.txt": b"tench\nshark\n"})
    manifest = run_split(source, class_names="data/classes.txt")
    assert set(manifest["class_name"]) == {"tench", "shark"}
    assert (manifest["path"].str.contains("/0/") == (manifest["class_name"] == "tench")).all()
    assert "classes named by data/classes.txt: '0' is 'tench', '1' is 'shark'" in read_notes()


def test_a_file_of_names_that_does_not_serve_is_refused(project):
    source = build(project / "set", class_folders(a=5, b=5) | {"classes.txt": b"tench\nshark\n"})
    assert "split.class_names = 'none.txt': no such file in" in refusal(
        source, class_names="none.txt"
    )
    assert "does not name the classes a, b, each otherwise" in refusal(
        source, class_names="classes.txt"
    )


@pytest.mark.parametrize(
    "text",
    [
        "patientId,x,y,width,height,Target\n0,,,,,0\n1,,,,,1\n",
        "id,age,sex,label\n0,55,male,1\n1,30,female,0\n",
        "0,7\n1,8\n",
        "9" * 5000 + " tench\n1 shark\n",  # more digits than Python makes a number of
    ],
)
def test_tables_of_something_else_name_no_classes(text):
    assert names_of_classes(text.encode(), {"0", "1"}) is None
