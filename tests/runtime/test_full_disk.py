"""A full disk, a cache that is read-only, a folder that cannot be written: a sentence, nothing
half-written, and the next run succeeds."""

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.helpers.tiny_pipeline import call, copy_world, files_in, forget, repro

# Stages, blocks of 512 bytes that a file may have, and the first file that needs more.
TOO_LARGE = [
    ("decode", 10, "data/images/train/images.npy"),
    ("weights", 10, "data/weights/backbone.weights.h5"),
    ("extract", 10, "data/features/train/features.npy"),
    pytest.param("finetune", 1000, "models/finetuned/model.weights.h5", marks=pytest.mark.slow),
    ("evaluate scratch", 10, "data/evaluation/scratch/mistakes.png"),
    ("report", 10, "scratch.png"),
]


@pytest.fixture
def project(base: Path, tmp_path: Path) -> Path:
    return copy_world(base, tmp_path / "project")


def contents(project: Path) -> dict[str, bytes]:
    return {
        file: (project / file).read_bytes()
        for folder in ("data", "models", "metrics", "plots")
        for file in under(project, folder)
    }


def under(project: Path, folder: str) -> list[str]:
    return [f"{folder}/{file}" for file in files_in(project / folder)]


@pytest.mark.parametrize(("stage", "blocks", "file"), TOO_LARGE)
def test_a_file_that_does_not_fit_ends_the_stage_in_a_sentence_and_leaves_what_was_there(
    project, stage, blocks, file
):
    """A limit on the size of files simulates a disk that fills up while a file is written."""
    shutil.rmtree(project / ".rows")
    before = contents(project)
    finished = call(
        "sh", "-c", f"ulimit -f {blocks} && exec python -m stages.{stage}", cwd=project, check=False
    )
    assert finished.returncode == 1
    said = finished.stderr.splitlines()[-1]
    assert said.startswith(f"{stage.replace(' ', '@')}: ")
    assert file in said
    assert "File too large" in said
    assert "Traceback" not in finished.stderr
    assert contents(project) == before


@pytest.mark.slow
def test_after_the_disk_has_room_again_dvc_repro_ends_as_if_nothing_had_happened(base, project):
    forget(project, "finetune")
    shell = project.with_name("limited")
    shell.write_text('#!/bin/sh\nulimit -f 1000\nexec /bin/sh "$@"\n')
    shell.chmod(shell.stat().st_mode | stat.S_IXUSR)
    failed = call("env", f"SHELL={shell}", "dvc", "repro", cwd=project, check=False)
    assert failed.returncode != 0
    assert "File too large" in failed.stderr
    assert [file for file in under(project, "models") if "finetuned" in file] == [
        "models/finetuned/model.json"
    ]  # small enough, and whole
    repro(project)
    assert (project / "dvc.lock").read_text() == (base / "dvc.lock").read_text()


@pytest.fixture
def bound() -> list[str]:
    """What to put before a command so that a folder's permissions bind it,
    whoever runs the tests."""
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip(
            "the tests run as root, whom permissions do not bind, and there is no setpriv to "
            "change that"
        )
    return ["setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override"]


@pytest.fixture
def read_only(project: Path) -> Iterator[Path]:
    """The folder whose name the test gives is read-only, with all below it."""
    made = []

    def protect(folder: str) -> None:
        for path in [project / folder, *(project / folder).rglob("*")]:
            if path.is_dir():
                path.chmod(0o555)
                made.append(path)

    def release() -> None:
        for path in made:
            path.chmod(0o755)
        made.clear()

    protect.release = release
    yield protect
    release()


def test_a_folder_that_cannot_be_written_is_named(project, bound, read_only):
    before = contents(project)
    read_only("data/features")
    finished = call(*bound, "python", "-m", "stages.extract", cwd=project, check=False)
    assert finished.returncode == 1
    assert finished.stderr.splitlines()[-1].startswith("extract: data/features/")
    assert "Permission denied; nothing is half-written" in finished.stderr
    assert contents(project) == before


def test_a_read_only_cache_stops_dvc_and_costs_nothing(base, project, bound, read_only):
    forget(project, "train_probe")
    read_only(".dvc/cache")
    failed = call(*bound, "dvc", "repro", "train_probe", cwd=project, check=False)
    assert failed.returncode != 0
    assert "Permission denied" in failed.stderr
    assert ".dvc/cache" in failed.stderr
    read_only.release()
    repro(project, "train_probe")
    locks = (
        yaml.safe_load((folder / "dvc.lock").read_text())["stages"]["train_probe"]
        for folder in (base, project)
    )
    assert next(locks) == next(locks)
