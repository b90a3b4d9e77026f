"""`use` and `split` with lists of paths named by their classes, and with notes beside pictures; and
what `use` says of tables that disagree, names of files, and paths of other systems."""

import json
import shutil
import subprocess
from collections import Counter

import pandas as pd
import pytest

from tests.commands.test_use import IMAGES, split_params
from tests.helpers.split_stage import run_split
from tests.helpers.tiny_sources import REPOSITORY, build, class_folders
from transfer.__main__ import main
from transfer.commands.use.labelling import label_by_folders
from transfer.commands.use.survey import Survey
from transfer.runtime.errors import PipelineError
from transfer.sources.scanned_file import ScannedFile

CATS = {f"images/{i}.png" for i in range(0, 6, 2)}
LISTS = {
    "lists/cat.txt": "\n".join(sorted(CATS)).encode(),
    "lists/dog.txt": "\n".join(sorted({*IMAGES} - CATS)).encode(),
}
NOTES = {f"images/{i}.txt": b"cat\n" if i % 2 == 0 else b"dog" for i in range(6)}
BOXES = {f"images/{i}.txt": f"{i % 2} .5 .5 .1 .1".encode() for i in range(6)}


@pytest.mark.parametrize("beside", [LISTS, NOTES], ids=["lists", "notes"])
@pytest.mark.parametrize("kind", ["set", "set.zip"])
def test_lists_and_notes_are_found_and_split_reads_them(here, capsys, beside, kind):
    build(here / kind, IMAGES | beside)
    assert main(["use", kind, "--split", "2/2/2"]) == 0
    assert "classes    2: cat 3, dog 3" in capsys.readouterr().out
    labels = split_params()["labels"]
    place = "images" if beside is NOTES else "lists"
    assert labels == (f"set/{place}" if kind == "set" else kind)
    sizes = {"train": 2, "validation": 2, "test": 2}
    manifest: pd.DataFrame = run_split(kind, labels=labels, near_copies=False, **sizes)
    assert {*manifest.loc[manifest["class_name"] == "cat", "path"]} == CATS


@pytest.mark.parametrize("kind", ["set", "set.zip"])
def test_boxes_are_no_labels_unless_they_are_named(here, capsys, kind):
    build(here / kind, IMAGES | BOXES)
    assert main(["use", kind]) == 1
    said = capsys.readouterr().err
    assert "has boxes or outlines of objects" in said
    if kind == "set":
        assert "here --labels set/images" in said
        assert main(["use", "set", "--labels", "set/images"]) == 0
        assert "classes    2: 0 3, 1 3" in capsys.readouterr().out


def test_why_notes_do_not_serve_is_said(here, capsys):
    notes = {f"images/{i}.png.json": json.dumps({"title": 1, "views": 2}) for i in range(6)}
    build(here / "set", IMAGES | {path: text.encode() for path, text in notes.items()})
    assert main(["use", "set"]) == 1
    assert "JSON with 'title', 'views', of which none is a label" in capsys.readouterr().err


def test_a_table_is_found_among_many_notes(here, capsys):
    table = "path,label\n" + "".join(f"{i}.png,{'xy'[i % 2]}\n" for i in range(6))
    build(here / "set", IMAGES | NOTES | {"images/deep/labels.csv": table.encode()})
    assert main(["use", "set"]) == 0
    assert "classes    2: x 3, y 3" in capsys.readouterr().out


def test_tables_that_disagree_are_told(here, capsys):
    def table(dogs: str) -> bytes:
        return (
            "path,label\n" + "".join(f"{i}.png,{('cat', dogs)[i % 2]}\n" for i in range(6))
        ).encode()

    build(here / "set", IMAGES | {"labels.csv": table("dog"), "old.csv": table("cow")})
    assert main(["use", "set"]) == 0
    said = capsys.readouterr().out
    assert "set/old.csv labels 3 of these images otherwise, images/1.png as 'cow' and not" in said
    build(here / "same", IMAGES | {"labels.csv": table("dog"), "old.csv": table("dog")})
    main(["use", "same"])
    assert "otherwise" not in capsys.readouterr().out


def test_folders_of_programs_among_the_classes_are_named(here, capsys):
    files = {
        f"{name}/{i}.png": IMAGES[f"images/{i}.png"] for name in ("cat", "docs") for i in range(6)
    }
    build(here / "set", files)
    assert main(["use", "set"]) == 0
    assert "are of programs mostly: docs; move them out" in capsys.readouterr().out


def test_labels_behind_numbers_in_names_are_noticed(here, capsys):
    files = {
        f"{k}/{i}_{'cat' if i % 2 else 'dog'}.png": IMAGES[f"images/{i}.png"]
        for k, numbers in (("train", (0, 1, 2, 3)), ("test", (4, 5)))
        for i in numbers
    }
    build(here / "set", files)
    assert main(["use", "set"]) == 1
    pattern = capsys.readouterr().err.split("add --label-pattern '")[1].rstrip("'\n")
    assert main(["use", "set", "--label-pattern", pattern]) == 0
    said = capsys.readouterr().out
    assert "classes    2: cat 3, dog 3" in said
    assert "split      as the source has it" in said


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (r"\\server\photos", "a share of the network: mount it"),
        (r"C:\Users\me\my photos", "in WSL it is '/mnt/c/Users/me/my photos'"),
        ("photos/*.jpg", "patterns of names are not read: name the folder"),
        ("link", "is a link to 'nowhere', which is not there: mount what it leads to"),
    ],
)
def test_paths_of_other_systems_are_explained(here, capsys, path, message):
    (here / "link").symlink_to("nowhere")
    assert main(["use", path]) == 1
    assert message in capsys.readouterr().err


def test_a_locked_folder_may_be_the_second_class():
    locked = ScannedFile("dog", problem="a folder that cannot be opened: Permission denied")
    found = Survey([ScannedFile("cat/1.png"), locked], [], Counter(PNG=1), 1, [])
    with pytest.raises(PipelineError, match="one class folder.*dog is a folder that cannot be op"):
        label_by_folders("set", found)


@pytest.mark.parametrize("path", ["data", "data/images", "data/split", "data/manifest/x"])
def test_what_the_pipeline_writes_is_no_source(here, capsys, path):
    shutil.copy(REPOSITORY / "dvc.yaml", here)
    build(here / path, class_folders(cat=3, dog=3))
    assert main(["use", path]) == 1
    assert "which the pipeline itself writes; put your images" in capsys.readouterr().err
    build(here / "data/pets", class_folders(cat=3, dog=3))
    assert main(["use", "data/pets", "--dry-run"]) == 0


def test_a_file_that_git_ignores_is_added_by_force(here, capsys):
    subprocess.run(["git", "init", "--quiet"], check=True)  # noqa: S607
    build(here / "pets.zip", class_folders(cat=3, dog=3))
    (here / ".gitignore").write_text("*.zip\n")
    main(["use", "pets.zip", "--dry-run"])
    assert "add it first: git add --force pets.zip" in capsys.readouterr().out
