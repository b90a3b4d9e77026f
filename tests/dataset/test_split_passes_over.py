"""What `split` passes over, or reads only if it is told to, and what it says of that."""

import os
from pathlib import Path

import numpy as np
import pytest

from stages import decode
from tests.helpers.split_stage import CATS_AND_DOGS, refusal, rejected, run_split
from tests.helpers.tiny_sources import build, class_folders, encode, picture
from transfer.dataset.notes_file import read_notes
from transfer.sources import reader

PETS = class_folders(cat=6, dog=6)


def notes() -> str:
    return "\n".join(read_notes())


CLUTTER = [
    "@eaDir/x.jpg",
    "cat/@eaDir/0.png/SYNOPHOTO_THUMB_M.jpg",
    "#recycle/1.png",
    "$RECYCLE.BIN/desktop.ini",
    "lost+found/1.png",
    "System Volume Information/x",
    "__MACOSX/cat/._0.png",
    "cat/Thumbs.DB",
    "cat/ehthumbs.db",
    "dog/Desktop.ini",
    ".ipynb_checkpoints/0-checkpoint.png",
    "cat/.ipynb_checkpoints/0-checkpoint.png",
    "cat/._0.png",
    ".DS_Store",
]


def test_clutter_is_passed_over_and_counted(project):
    files = CATS_AND_DOGS | dict.fromkeys(CLUTTER, b"clutter")
    manifest = run_split(build(project / "set", files))
    assert set(manifest["path"]) == set(CATS_AND_DOGS)
    assert rejected() == {}
    assert "$RECYCLE.BIN (1)" in notes()
    assert "Thumbs.DB (1)" in notes()


def test_text_beside_each_picture_is_passed_over_and_counted(project):
    files = CATS_AND_DOGS | {f"{path}.json": b"{}" for path in CATS_AND_DOGS}
    files |= {"labels/0.txt": b"1 2 3", "classes.csv": b"a,b", "README": b"read me"}
    manifest = run_split(build(project / "set", files))
    assert len(manifest) == len(CATS_AND_DOGS)
    assert ".csv (1), .json (25), .txt (1), README (1)" in notes()


def test_notes_of_windows_beside_each_picture_are_passed_over_and_counted(project):
    streams = {f"{path}:Zone.Identifier": b"[ZoneTransfer]\r\n" for path in CATS_AND_DOGS}
    run_split(build(project / "set", CATS_AND_DOGS | streams))
    assert rejected() == {}
    assert "text and tables beside the images, passed over: .identifier (25)" in notes()


def test_an_image_that_is_called_text_is_read(project):
    run_split(build(project / "set", CATS_AND_DOGS | {"cat/new.txt": encode(picture(99))}))
    assert "cat/new.txt" in Path("data/manifest/manifest.csv").read_text()


@pytest.mark.parametrize("kind", ["folder", "set.zip", "set.tar"])
def test_a_class_whose_name_begins_with_a_dot_is_not_lost_silently(project, capsys, kind):
    run_split(build(project / kind, CATS_AND_DOGS | {".net/1.png": encode(picture(77))}))
    said = "passed over: 1, '.net'; rename a class that is called so"
    assert said in capsys.readouterr().out
    assert said in notes()


def test_a_folder_that_cannot_be_opened_is_one_row(project, monkeypatch):
    source = build(project / "set", CATS_AND_DOGS | {"cat/locked/1.png": encode(picture(88))})
    scandir = os.scandir

    def refuse(folder):
        if not isinstance(folder, int) and Path(folder).name == "locked":
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(reader.os, "scandir", refuse)
    manifest = run_split(source, max_rejected=1)
    assert set(manifest["path"]) == set(CATS_AND_DOGS)
    assert rejected() == {"cat/locked": "a folder that cannot be opened: Permission denied"}


# Links


def test_links_out_of_the_source_are_read_where_a_parameter_says_so(project):
    cache = build(project / "cache", CATS_AND_DOGS)
    for path in CATS_AND_DOGS:
        link = project / "set" / path
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(cache / path)
    assert "a link that leaves the folder; split.follow_links: true reads it" in refusal(
        project / "set"
    )
    (cache / "names.json").write_text('{"cat": "Felis catus", "dog": "Canis lupus"}')
    (project / "set/names.json").symlink_to(cache / "names.json")
    manifest = run_split(project / "set", follow_links=True, class_names="names.json")
    assert set(manifest["path"]) == set(CATS_AND_DOGS)
    assert set(manifest["class_name"]) == {"Felis catus", "Canis lupus"}
    decode.main()
    assert len(np.load("data/images/train/images.npy")) == 15


def test_linked_folders_are_read_once_and_circles_end(project):
    build(project / "cache", CATS_AND_DOGS)
    source = project / "set"
    source.mkdir()
    for name in ("cat", "dog"):
        (source / name).symlink_to(project / "cache" / name)
    (project / "cache/cat/up").symlink_to(source)
    (project / "cache/cat/again").symlink_to(project / "cache/cat")
    manifest = run_split(source, follow_links=True, max_rejected=2)
    assert len(manifest) == len(CATS_AND_DOGS)
    assert set(rejected().values()) == {"a link to a folder that is read already"}


def test_what_a_camera_writes_beside_each_picture_is_passed_over_and_counted(project):
    raw = {path.replace(".png", ".CR2"): b"II*\0" + bytes(40) for path in CATS_AND_DOGS}
    files = CATS_AND_DOGS | raw | {"cat/alone.mov": b"x", "cat/0.heic": b"x"}
    run_split(build(project / "set", files), max_rejected=2)
    assert "called as an image beside them, and passed over: .cr2 (25)" in notes()
    assert {*rejected()} == {"cat/alone.mov", "cat/0.heic"}


def test_clutter_that_appears_changes_the_notes_and_no_other_byte(project):
    def outputs() -> dict[str, bytes]:
        return {
            str(path): path.read_bytes()
            for folder in ("data/manifest", "data/split")
            for path in Path(folder).rglob("*.*")
        }

    source = build(project / "set", PETS)
    run_split(source)
    before = outputs()
    build(source, {"cat/.DS_Store": b"x", "Thumbs.db": b"x", "@eaDir/1.png": b"x"})
    run_split(source)
    after = outputs()
    assert {path for path in after if after[path] != before.get(path)} == {"data/split/notes.json"}
    assert before.keys() == after.keys()


def test_a_folder_of_text_beside_the_classes_is_told(project):
    run_split(build(project / "set", PETS | {"bird/readme.txt": b"x", "unlabeled/1.png": b"x"}))
    assert "folders that hold files and no image are no classes: bird" in notes()
    assert "bird, " not in notes()
