"""What `use` says of folders at which DVC stops, waits or runs again."""

import os
import re
import shlex
import shutil
import stat
import subprocess

import pytest

from tests.helpers.tiny_pipeline import call
from tests.helpers.tiny_sources import REPOSITORY, build, class_folders
from transfer.__main__ import main
from transfer.runtime.errors import PipelineError
from transfer.sources.reader import read_source

PETS = class_folders(cat=4, dog=5)


def said_of(source: str, capsys) -> str:
    assert main(["use", source, "--dry-run"]) == 0
    return capsys.readouterr().out


def test_what_dvc_cannot_read_is_named(here, capsys):
    build(here / "pets", PETS)
    assert "fails" not in said_of("pets", capsys)
    (here / "pets/cat/away.png").symlink_to("nowhere")
    os.mkfifo(here / "pets/dog/pipe")
    assert (
        "`dvc repro` fails at cat/away.png (a broken link), dog/pipe (not a regular file), or "
        "waits for it: DVC reads every file of pets; remove what is none"
    ) in said_of("pets", capsys)


def test_a_dvcignore_in_the_source_is_named(here, capsys):
    build(here / "pets", PETS | {".dvcignore": b"*.txt"})
    assert "`dvc repro` fails at pets/.dvcignore, since DVC allows no .dvcignore" in (
        said_of("pets", capsys)
    )


def test_names_that_are_not_utf8_come_with_both_commands_and_the_tar_is_read(here, capsys):
    build(here / "old pets", PETS)
    folder = os.fsencode(here / "old pets") + "/k\xe4fer".encode("cp1252")
    os.mkdir(folder)  # noqa: PTH102  a name of bytes
    for name in ("1.png", "2.png", "3.png"):
        shutil.copy(here / "old pets/dog/0.png", folder + b"/" + name.encode())
    said = said_of("old pets", capsys)
    assert "They fit cp1252 (the first is 'k\xe4fer' then)" in said
    assert "convmv -f cp1252 -t utf8 -r --notest 'old pets'" in said
    pack = said.split("read then: ")[1].split(" && ")[0]
    subprocess.run(shlex.split(pack), check=True)
    assert "classes    3: cat 4, dog 5, k\xe4fer 3" in said_of("old pets.tar", capsys)


def test_clutter_outside_the_project_comes_with_a_link(here, capsys):
    build(here.parent / "pets", PETS)
    assert "ln -s" not in said_of("../pets", capsys)
    (here.parent / "pets/.DS_Store").write_bytes(b"x")
    said = said_of("../pets", capsys)
    assert "split, decode, audit and report run again, but no training" in said
    link = said.split("use it: ")[1].split(" && ")[0]
    assert link == f"ln -s {here.parent / 'pets'} pets"
    subprocess.run(shlex.split(link), check=True)
    assert "ln -s" not in said_of("pets", capsys)
    assert main(["use", "pets"]) == 0
    assert "split.source = pets" in capsys.readouterr().out


def test_the_link_that_is_advised_has_a_name_that_is_free_in_the_project(here, capsys):
    build(here.parent / "data", PETS | {".DS_Store": b"x"})
    (here / "data").mkdir()
    said = said_of("../data", capsys)
    subprocess.run(shlex.split(said.split("use it: ")[1].split(" && ")[0]), check=True)
    assert (here / "2-data").readlink() == here.parent / "data"
    assert not [*(here / "data").iterdir()]
    assert "python -m transfer use 2-data" in said


def test_a_link_in_the_project_is_added_to_git(here, capsys):
    call("git", "init", "--quiet", cwd=here)
    build(here.parent / "pets", PETS)
    (here / "pets").symlink_to(here.parent / "pets")
    assert "For those, add it first: git add pets" in said_of("pets", capsys)
    call("git", "add", "pets", cwd=here)
    assert "git add pets" not in said_of("pets", capsys)


def test_only_what_is_not_inside_of_the_source_is_to_be_added_besides(here, capsys):
    call("git", "init", "--quiet", cwd=here)
    table = "path,label\n" + "".join(f"{path},{path[:3]}\n" for path in PETS)
    build(here / "pets", PETS | {"labels.csv": table.encode()})
    (here / "labels.csv").write_text(table)
    for words, to_add in (
        ([], ["pets"]),  # and not the project's own file that stands for no table
        (["--labels", "pets/labels.csv"], ["pets"]),
        (["--labels", "labels.csv"], ["pets", "labels.csv"]),
    ):
        assert main(["use", "pets", "--dry-run", *words]) == 0
        said = capsys.readouterr().out
        assert re.findall(r"use: (\S+) is in neither git nor DVC", said) == to_add


@pytest.mark.parametrize("tracked", ["data", "data/pets", "data/pets.zip"])
def test_what_dvc_tracks_and_is_not_there_is_to_be_pulled(here, capsys, tracked):
    (here / f"{tracked}.dvc").parent.mkdir(exist_ok=True)
    (here / f"{tracked}.dvc").write_text("outs: []")
    source = tracked if "pets" in tracked else "data/pets"
    assert main(["use", source]) == 1
    said = capsys.readouterr().err
    assert f"{source!r}: no such file or folder; DVC tracks it: dvc pull {tracked}.dvc" in said
    with pytest.raises(PipelineError, match=f"DVC tracks it: dvc pull {tracked}.dvc"):
        next(read_source(source))
    assert main(["use", f"{tracked}.dvc"]) == 1
    assert f"name that instead: {tracked!r}" in capsys.readouterr().err


@pytest.mark.slow
def test_dvc_does_as_use_says(here):
    call("git", "init", "--quiet", cwd=here)
    call("dvc", "init", "--quiet", cwd=here)
    shutil.copy(REPOSITORY / ".dvcignore", here)
    build(here.parent / "pets", PETS)
    (here / "link").symlink_to(here.parent / "pets")
    stages = "stages:\n"
    for name, source in (("outside", here.parent / "pets"), ("linked", "link")):
        stages += f"  {name}: {{cmd: touch {name}, deps: [{source}], outs: [{name}]}}\n"
    (here / "dvc.yaml").write_text(stages)
    call("dvc", "repro", "--quiet", cwd=here)
    (here.parent / "pets/cat/.DS_Store").write_bytes(b"x")
    changed = call("dvc", "status", cwd=here).stdout
    assert "outside:" in changed
    assert "linked:" not in changed
    (here.parent / "pets/cat/.DS_Store").unlink()
    for spoil in (
        lambda path: path.symlink_to("nowhere"),
        lambda path: os.mknod(path, stat.S_IFSOCK | 0o600),
        lambda path: path.with_name(".dvcignore").touch(),
    ):
        spoil(here.parent / "pets/x")
        assert call("dvc", "repro", cwd=here, check=False).returncode
        for path in (here.parent / "pets").glob("[x.]*"):
            path.unlink()
