"""Killed at any moment, `make run` ends with the bytes that there would have been; `make chaos`
runs all the kills."""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import psutil
import pytest
import yaml

from tests.helpers.tiny_pipeline import (
    STAGES,
    call,
    copy_world,
    environment,
    forget,
    repro,
    set_param,
)
from transfer.commands.repair import is_whole

VICTIMS = ("stage", "dvc", "group")
EPOCHS = 400


class Running(NamedTuple):
    """A command in a session of its own, and the file that gets what it and its children print."""

    process: subprocess.Popen
    printed: Path

    def text(self) -> str:
        return self.printed.read_text()

    def members(self) -> list[psutil.Process]:
        """All processes of the session that still run, orphans included."""
        return [
            process for process in psutil.process_iter() if _session(process) == self.process.pid
        ]

    def stages(self) -> list[psutil.Process]:
        return [
            member
            for member in self.members()
            if any(word.startswith("stages.") for word in _command(member))
        ]


def _session(process: psutil.Process) -> int | None:
    try:
        return None if process.status() == psutil.STATUS_ZOMBIE else os.getsid(process.pid)
    except (psutil.NoSuchProcess, ProcessLookupError):
        return None


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


@contextmanager
def running(*words: str, cwd: Path) -> Iterator[Running]:
    printed = cwd.with_name(f"{cwd.name}-{time.monotonic_ns()}.log")
    with printed.open("wb") as file:
        process = subprocess.Popen(
            words, cwd=cwd, env=environment(), stdout=file, stderr=file, start_new_session=True
        )
    started = Running(process, printed)
    try:
        yield started
    finally:
        for member in started.members():
            member.kill()
        process.wait()


def wait_until(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def kill(victim: str, run: Running) -> None:
    """SIGKILL to the stage, to the DVC that runs it, or to all of them at once."""
    if victim == "group":
        os.killpg(run.process.pid, signal.SIGKILL)
    elif victim == "dvc":
        run.process.kill()
    else:
        # between two stages there is none
        wait_until(lambda: [stage.kill() for stage in run.stages()] or not run.members())


def make_run(project: Path) -> str:
    """What `make run` does in the environment of the tests, and prints."""
    return call("python", "-m", "transfer", "run", cwd=project).stdout


KILLS = [
    pytest.param(
        STAGES[seed % len(STAGES)],
        VICTIMS[(seed + seed // len(STAGES)) % len(VICTIMS)],  # another the second time
        np.random.default_rng(seed).random(),
        id=f"{seed}-{STAGES[seed % len(STAGES)]}",
    )
    for seed in range(20)
]


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "victim", "moment"), KILLS)
def test_killed_at_a_random_moment_the_next_run_ends_as_if_nothing_had_happened(
    base, tmp_path, stage, victim, moment
):
    project = copy_world(base, tmp_path / "project")
    # of imports and DVC's own work
    seconds = yaml.safe_load((project / "logs" / f"{stage}.json").read_text())["seconds"] + 5
    forget(project, stage)
    with running("dvc", "repro", cwd=project) as run:
        wait_until(lambda: f"Running stage '{stage}'" in run.text())
        time.sleep(moment * seconds)
        kill(victim, run)
        wait_until(lambda: not run.members(), seconds=30)
    make_run(project)
    assert (project / "dvc.lock").read_text() == (base / "dvc.lock").read_text()
    assert call("git", "status", "--porcelain", cwd=project).stdout == ""
    call("python", "-m", "transfer", "verify", cwd=project)
    assert not any((project / ".checkpoints").glob("*/*"))


def test_killed_while_it_writes_its_lock_make_run_repairs_it(base, tmp_path):
    """The moment that random ones seldom meet."""
    project = copy_world(base, tmp_path / "project")
    forget(project, "report")
    with running("dvc", "repro", cwd=project) as run:
        wait_until(lambda: "Running stage 'report'" in run.text())
        lock = project / "dvc.lock"
        before = lock.stat().st_size
        wait_until(lambda: lock.stat().st_size < before)  # it is written anew from its first byte
        kill("dvc", run)
    assert not is_whole((project / "dvc.lock").read_bytes())
    assert "run: dvc.lock was cut short" in make_run(project)
    assert (project / "dvc.lock").read_text() == (base / "dvc.lock").read_text()
    assert call("git", "status", "--porcelain", cwd=project).stdout == ""


@pytest.fixture(scope="module")
def uninterrupted(base, tmp_path_factory) -> Path:
    """The world with a long training of the head, run through."""
    project = copy_world(base, tmp_path_factory.mktemp("uninterrupted") / "project")
    set_param(project, "train_head.epochs", EPOCHS)
    repro(project, "train_head")
    return project


@pytest.mark.slow
def test_an_experiment_killed_in_its_folder_is_resumed_in_the_workspace(
    base, uninterrupted, tmp_path
):
    """Its checkpoint is found by what it computes, not by where."""
    project = copy_world(base, tmp_path / "project")
    words = (
        "dvc",
        "exp",
        "run",
        "--temp",
        "--set-param",
        f"train_head.epochs={EPOCHS}",
        "train_head",
    )
    with running(*words, cwd=project) as run:
        wait_until(lambda: any((project / ".checkpoints/train_head").glob("*/state.npz")))
        kill("group", run)
    set_param(project, "train_head.epochs", EPOCHS)
    text = repro(project, "train_head").text
    resumed = re.search(r"head: resuming after epoch (\d+) of an interrupted run", text)
    assert 1 <= int(resumed[1]) < EPOCHS
    for file in (uninterrupted / "models/head").iterdir():
        assert (project / "models/head" / file.name).read_bytes() == file.read_bytes()
    assert not any((project / ".checkpoints/train_head").iterdir())


@pytest.fixture(scope="module")
def training(base, tmp_path_factory) -> Iterator[tuple[Path, Running]]:
    """A world in which `dvc repro` trains the head at this moment, and will for some time."""
    project = copy_world(base, tmp_path_factory.mktemp("training") / "project")
    set_param(project, "train_head.epochs", 100_000)
    with running("dvc", "repro", "train_head", cwd=project) as run:
        wait_until(lambda: any((project / ".checkpoints/train_head").glob("*/state.npz")))
        yield project, run


def test_a_training_can_be_watched(training):
    project, _ = training
    seen = pd.read_csv(project / "models/head/history.csv")
    wait_until(
        lambda: len(pd.read_csv(project / "models/head/history.csv")) > len(seen), seconds=10
    )
    assert seen["epoch"].tolist() == list(range(1, len(seen) + 1))
    words = ["models/head/history.csv", "-x", "epoch", "-y", "val_loss", "--json"]
    drawn = json.loads(call("dvc", "plots", "show", *words, cwd=project).stdout)["data"]
    [curve] = drawn.values()
    assert float(curve[0]["content"]["data"]["values"][0]["val_loss"]) > 0


def test_a_second_repro_says_who_runs_and_disturbs_nothing(training):
    project, run = training
    second = call("dvc", "repro", "train_head", cwd=project, check=False)
    assert second.returncode != 0
    assert "is busy, it is being blocked by" in second.stderr
    assert f"(PID {run.process.pid})" in second.stderr
    assert run.process.poll() is None


def test_an_orphan_stops_and_writes_nothing(training):
    project, run = training
    kill("dvc", run)
    wait_until(lambda: not run.members(), seconds=5)
    assert "train_head: the DVC that ran this stage is gone, so it stops" in run.text()
    left = [path.name for path in (project / "models/head").glob("*")]
    assert not [name for name in left if name.startswith(("model.", ".tmp-"))]
