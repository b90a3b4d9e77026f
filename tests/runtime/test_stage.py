"""Running a stage as a program: one process per stage and folder, and its log."""

import errno
import fcntl
import json
import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
import pytest

from tests.helpers.tiny_sources import REPOSITORY
from transfer.runtime import stage
from transfer.runtime.errors import PipelineError
from transfer.runtime.pins import in_use


@pytest.fixture
def held(project: Path) -> Iterator[IO]:
    """The lock of the stage `extract`, as another process would hold it."""
    (project / "logs").mkdir()
    with (project / "logs/extract.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write("4711")
        file.flush()
        yield file


def test_a_stage_that_runs_already_is_refused_with_its_process(held, monkeypatch):
    monkeypatch.setattr(stage, "LOCK_TIMEOUT", 0.2)
    with (
        pytest.raises(
            PipelineError,
            match="process 4711 runs this stage in .*project too; wait until it ends, or stop it",
        ),
        stage.only_one("extract"),
    ):
        pytest.fail("two at once")


def test_another_stage_may_run_at_the_same_time(held):
    with stage.only_one("augment"):
        pass


def test_a_stage_waits_for_one_that_is_about_to_end(held):
    threading.Timer(0.3, held.close).start()
    with stage.only_one("extract"):
        assert held.closed


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS])
def test_a_file_system_without_locks_is_remarked_and_the_stage_runs(
    project, monkeypatch, capsys, number
):
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(stage.fcntl, "flock", refuse)
    ran = []
    with stage.only_one("extract"):
        ran.append(True)
    assert ran == [True]
    assert "has no locks: see that no other process runs this stage here" in capsys.readouterr().err


def test_the_log_says_when_how_long_how_much_and_where(project, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["stages/extract.py"])
    (project / "dvc.yaml").write_text("stages: {extract: {desc: Test}}")
    stage.run_stage(lambda: None)
    log = json.loads((project / "logs/extract.json").read_text())
    assert set(log) == {
        "started",
        "seconds",
        "core_seconds",
        "import_seconds",
        "import_core_seconds",
        "peak_bytes",
        "environment",
    }
    assert 0 <= log["seconds"] < 60
    assert 0 <= log["core_seconds"] < 60
    # of this process: pytest's own start, at least
    assert log["import_seconds"] > 0
    assert 0 < log["import_core_seconds"] <= time.process_time()
    assert log["environment"]["python"] == platform.python_version()
    assert set(log["environment"]["packages"]) == {*in_use()}
    assert log["environment"]["packages"]["numpy"] == np.__version__
    assert all(log["environment"][name] for name in ("system", "processor", "cores"))


def test_the_age_of_a_process_counts_from_its_start():
    program = "from transfer.runtime.stage import process_age; print(process_age())"
    for pause in (0, 0.5):
        before = time.monotonic()
        child = [sys.executable, "-c", f"import time; time.sleep({pause}); {program}"]
        age = float(subprocess.check_output(child, cwd=REPOSITORY))
        # the system counts starts in hundredths of a second
        assert pause < age <= time.monotonic() - before + 0.02


def test_a_refusal_of_the_system_ends_in_a_sentence(project, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["stages/extract.py"])
    (project / "dvc.yaml").write_text("stages: {extract: {desc: Test}}")
    (project / "logs").write_text("a file, where a folder is wanted")
    with pytest.raises(SystemExit, match="^extract: logs: File exists; nothing is half-written"):
        stage.run_stage(lambda: None)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            "<<<<<<< HEAD\nstages: {}\n",
            "^extract: dvc.yaml cannot be read: .*correct it, or restore",
        ),
        ("stages: {split: {desc: Test}}", "^extract: dvc.yaml has no stage 'extract'; add it"),
    ],
)
def test_a_pipeline_that_does_not_have_the_stage_ends_in_a_sentence(
    project, monkeypatch, content, said
):
    monkeypatch.setattr(sys, "argv", ["stages/extract.py"])
    (project / "dvc.yaml").write_text(content)
    with pytest.raises(SystemExit, match=f"(?s){said}"):
        stage.run_stage(lambda: None)


@pytest.mark.parametrize("by_dvc", [True, False])
def test_the_garbage_collector_passes_over_the_imports_of_a_stage_that_dvc_runs(project, by_dvc):
    code = (
        "import gc, sys, stages\nfrom transfer.runtime.stage import run_stage\n"
        "print(gc.isenabled())\nsys.argv = ['split']\n"
        "run_stage(lambda: print(gc.isenabled(), gc.get_freeze_count() > 0))"
    )
    variables = {name: value for name, value in os.environ.items() if name != "DVC_STAGE"}
    variables |= {"PYTHONPATH": str(REPOSITORY)} | ({"DVC_STAGE": "split"} if by_dvc else {})
    finished = subprocess.run(
        [sys.executable, "-c", code],
        env=variables
        | {"PYTHONPATH": str(REPOSITORY)}
        | ({"DVC_STAGE": "split"} if by_dvc else {}),
        capture_output=True,
        text=True,
        check=True,
    )
    assert finished.stdout.splitlines()[:2] == [str(not by_dvc), "True True"]
