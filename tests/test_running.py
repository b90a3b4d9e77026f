"""The cores are divided among the project's stages that run at the same time, and only among those: with real processes."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from worlds import REPOSITORY

from transfer import parallel
from transfer.parallel import core_share, map_in_order
from transfer.running import FOLDER, counted, stages_running

STAGE = "import sys\nfrom transfer.running import counted\nwith counted():\n    print('runs', flush=True)\n    sys.stdin.read()"


@pytest.fixture
def start(project, monkeypatch) -> Iterator[Callable[[], subprocess.Popen]]:
    """Starts a stage of this project in a temporary experiment's folder; it runs until its standard input ends."""
    monkeypatch.setattr(parallel, "available_cores", lambda: 8)
    (project / "experiment").mkdir()
    variables = os.environ | {"DVC_ROOT": str(project), "PYTHONPATH": str(REPOSITORY)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    started = []

    def start() -> subprocess.Popen:
        started.append(subprocess.Popen([sys.executable, "-c", STAGE], cwd=project / "experiment", env=variables, **pipes))
        assert started[-1].stdout.readline() == "runs\n"
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_stages_that_run_at_once_divide_the_cores(start):
    with counted():
        assert core_share() == 8
        others = [start(), start()]
        assert stages_running() == 3
        assert core_share() == 2
        others[0].communicate()
        assert core_share() == 4
        others[1].send_signal(signal.SIGKILL)
        others[1].wait()
        assert core_share() == 8
    assert stages_running() == 0
    assert len([*FOLDER.iterdir()]) == 3


def test_a_map_gives_cores_up_and_takes_them_back(start, monkeypatch):
    """At once here; a stage looks once a second."""
    monkeypatch.setattr(parallel, "_LOOK_EVERY", 0)
    guard, inside, most = threading.Lock(), set(), []
    changes = {50: start, 100: lambda: others.pop().communicate()}
    others = []

    def work(item: int) -> int:
        with guard:
            inside.add(item)
            most.append((item, len(inside)))
        threading.Event().wait(0.01)
        with guard:
            inside.remove(item)
        return item

    def items() -> Iterator[int]:
        for item in range(150):
            if item in changes:
                others.append(changes[item]())
            yield item

    with counted():
        assert [*map_in_order(work, items())] == [*range(150)]
    drawn_ahead = 2 * 8 + 1
    assert max(n for item, n in most if item < 50 - drawn_ahead) == 8
    assert max(n for item, n in most if 50 <= item < 100 - drawn_ahead) == 4
    assert max(n for item, n in most if item >= 100) == 8


def test_no_more_threads_than_cores_where_there_are_many_stages(start):
    with counted():
        for _ in range(9):
            start()
        assert core_share() == 1
        assert [*map_in_order(str, range(3))] == ["0", "1", "2"]


def test_a_number_that_is_asked_for_is_not_divided(start):
    start(), start()
    all_here = threading.Barrier(8, timeout=5)
    with counted():
        assert len([*map_in_order(lambda _: all_here.wait(), range(8), workers=8)]) == 8


def test_where_nothing_can_be_locked_each_stage_takes_all_cores(project: Path):
    (project / "logs").write_text("a file, where a folder is wanted")
    with counted():
        assert stages_running() == 0
        assert core_share() >= 1
