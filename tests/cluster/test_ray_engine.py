"""A real Ray cluster of several nodes on this machine: what it gives, what it survives,
and what it says."""

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.helpers import shard_sums
from tests.helpers.local_cluster import HOST, cluster
from transfer.cluster import connection
from transfer.cluster.connection import Cluster
from transfer.runtime.errors import PipelineError

ROOT = Path(__file__).parents[2]
N = 300


@pytest.fixture(scope="module")
def two_nodes():
    """A head that does no work itself, and two nodes that the tests leave as they were, but for the
    last one."""
    with cluster(path=str(ROOT / "tests/helpers")) as made:
        made.add()
        made.add()
        yield made


class Counting:
    """tests/helpers/counting.py as a process."""

    def __init__(self, address: str, items: int = N, *deadly: int, timeout: float = 60):
        words = [
            sys.executable,
            "-c",
            "import sys, counting; counting.main(*sys.argv[1:])",
            address,
            str(items),
            str(timeout),
        ]
        environment = os.environ | {
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests/helpers'}",
            "PYTHONUNBUFFERED": "1",
        }
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self.process = subprocess.Popen(
            [*words, *map(str, deadly)], env=environment, text=True, **pipes
        )
        self._lines: list[str] = []
        self.printed: list[str] = []  # all of it, once `results` has read it

    def wait_for(self, lines: int) -> None:
        while len(self._lines) < lines:
            line = self.process.stdout.readline()
            assert line, self.process.communicate()[1][-2000:]
            self._lines.append(line)

    def results(self) -> dict[int, str]:
        """Of all items; fails where one came twice or not at all."""
        out, error = self.process.communicate(timeout=120)
        assert self.process.returncode == 0, error[-2000:]
        self.printed = [*self._lines, *out.splitlines()]
        done = [line for line in self.printed if line.startswith("done ")]
        pairs = [word.split(":") for line in done for word in line.split()[1:]]
        results = {int(item): result for item, result in pairs}
        assert len(results) == len(pairs)
        return results

    def refusal(self) -> str:
        _, error = self.process.communicate(timeout=120)
        assert self.process.returncode == 1
        (line,) = [line for line in error.splitlines() if line.startswith("counting: ")]
        assert "Traceback" not in error
        return line


def doubled(n: int = N) -> dict[int, str]:
    return {item: str(2 * item) for item in range(n)}


def test_all_nodes_work_and_every_item_is_done_once(two_nodes):
    counting = Counting(two_nodes.address)
    counting.wait_for(1)
    assert "2 workers on 2 nodes" in counting._lines[0]
    assert [len(node.workers()) for node in two_nodes.nodes] == [0, 1, 1]
    assert counting.results() == doubled()


def test_a_worker_that_is_killed_costs_nothing_but_time(two_nodes):
    counting = Counting(two_nodes.address)
    counting.wait_for(20)
    (worker,) = two_nodes.nodes[1].workers()
    worker.kill()
    assert counting.results() == doubled()


def test_an_item_that_ends_its_worker_is_given_up_and_takes_no_other_with_it(two_nodes):
    results = Counting(two_nodes.address, 30, 4, 17).results()
    assert results.pop(4) == results.pop(17) == "Crashed(attempts=3)"
    assert results == {item: result for item, result in doubled(30).items() if item not in (4, 17)}


def start_sums(address: str, folder: Path, seconds: float) -> subprocess.Popen:
    """tests/helpers/shard_sums.py as a process."""
    words = [sys.executable, "-c", "import sys, shard_sums; shard_sums.main(*sys.argv[1:])"]
    path = f"{ROOT}{os.pathsep}{ROOT / 'tests/helpers'}"
    return subprocess.Popen(
        [*words, address, str(folder), str(seconds)],
        env=os.environ | {"PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def indexes_in(folder: Path) -> list[str]:
    return [(folder / f"{name}.shards").read_text() for name in ("features", "cut")]


def shards_noted(folder: Path) -> int:
    return sum(notes.read_text().count("\n") for notes in folder.glob(".rows/*/*.shards"))


def end_of(process: subprocess.Popen) -> str:
    out, error = process.communicate(timeout=120)
    assert process.returncode == 0, error[-2000:]
    return out


def test_shards_that_the_workers_make_are_those_of_this_machine_and_are_made_once(
    two_nodes, tmp_path, monkeypatch
):
    """A worker is killed on the way, then the stage itself; the run after that goes on."""
    monkeypatch.delenv("DVC_ROOT", raising=False)
    for name in ("alone", "cluster"):
        shard_sums.write_images(tmp_path / name, 100)
    monkeypatch.chdir(tmp_path)  # the next line leaves it
    shard_sums.main("", str(tmp_path / "alone"), "0")
    folder = tmp_path / "cluster"
    running = start_sums(two_nodes.address, folder, 0.05)
    wait_until(lambda: shards_noted(folder) >= 2)
    (worker,) = two_nodes.nodes[1].workers()
    worker.kill()
    wait_until(lambda: shards_noted(folder) >= 8)
    running.kill()
    running.communicate()
    assert not (folder / "features.shards").exists()
    noted = shards_noted(folder)
    said = end_of(start_sums(two_nodes.address, folder, 0.01))
    assert f"features: {noted * shard_sums.ROWS} rows were known (.rows)" in said
    assert indexes_in(folder) == indexes_in(tmp_path / "alone")
    assert sorted(path.name for path in (folder / "store").rglob("*.*")) == sorted(
        path.name for path in (tmp_path / "alone/store").rglob("*.*")
    )


def wait_until(is_so, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
def test_a_node_that_dies_costs_nothing_but_time_and_one_that_joins_works():
    with cluster(path=str(ROOT / "tests/helpers")) as nodes:
        first, second = nodes.add(), nodes.add()
        counting = Counting(nodes.address, 3 * N)
        counting.wait_for(20)
        second.kill()
        third = nodes.add()
        deadline = time.monotonic() + 30
        while not third.workers() and time.monotonic() < deadline:
            time.sleep(0.1)
        joined = third.workers()
        first.kill()
        assert counting.results() == doubled(3 * N)
        assert joined


@pytest.mark.slow
def test_a_node_with_a_full_disk_is_left_out_and_said(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import tempfile\n"
        "plain = tempfile.mkdtemp\n"
        "def mkdtemp(suffix=None, prefix=None, dir=None):\n"
        "    if prefix == 'transfer-':\n"
        "        raise OSError(28, 'No space left on device')\n"
        "    return plain(suffix, prefix, dir)\n"
        "tempfile.mkdtemp = mkdtemp\n"
    )
    helpers = str(ROOT / "tests/helpers")
    with cluster(path=helpers) as nodes:
        full = nodes.add(PYTHONPATH=f"{tmp_path}{os.pathsep}{helpers}")
        said = Counting(nodes.address, timeout=9).refusal()
        assert "no node was left to work" in said and "No space left on device" in said
        nodes.add()
        counting = Counting(nodes.address)
        assert counting.results() == doubled()
        assert "that node is left out" in "".join(counting.printed)
        assert not full.workers()


@pytest.mark.slow
def test_a_slow_node_delays_the_end_by_seconds_only():
    """By the seconds after which a batch counts as slow; `results` would not wait for the node."""
    with cluster(path=str(ROOT / "tests/helpers")) as nodes:
        nodes.add()
        slow = nodes.add(COUNTING_SECONDS="300")
        assert Counting(nodes.address, 60).results() == doubled(60)
        assert slow.processes()


@pytest.mark.slow
def test_a_cluster_without_nodes_ends_in_a_sentence_after_the_timeout():
    with cluster(path=str(ROOT / "tests/helpers")) as nodes:
        node = nodes.add()
        counting = Counting(nodes.address, timeout=9)
        counting.wait_for(10)
        node.kill()
        assert "no node was left to work on the cluster" in (said := counting.refusal())
        assert (
            "resources.timeout = 9 s; what was computed is kept: start nodes and run `dvc repro`"
            in said
        )
        assert nodes.head.processes()


@pytest.fixture
def head(monkeypatch):
    """A socket that answers as a head does, until it is closed, and the connection to it; nothing
    of Ray is there."""
    monkeypatch.setattr(Cluster, "__init__", Cluster.watch)
    monkeypatch.setattr(connection, "HEAD_TIMEOUT", 0.5)
    monkeypatch.setattr(connection, "GRACE", 0.5)
    with socket.create_server((HOST, 0)) as server:
        yield server, Cluster(f"{HOST}:{server.getsockname()[1]}")


def test_a_call_that_ray_keeps_when_the_head_ends_is_given_up(head):
    server, connected = head
    server.close()
    with pytest.raises(PipelineError, match="the head of the Ray cluster at .* is gone"):
        connected.call(time.sleep, 30)


def test_what_ray_raises_as_the_head_ends_is_put_down_to_it(head):
    server, connected = head

    def fail() -> None:
        raise OSError("Broken pipe")

    with pytest.raises(OSError, match="Broken pipe"):
        connected.call(fail)
    server.close()
    with pytest.raises(PipelineError, match="the head of the Ray cluster at .* is gone"):
        connected.call(fail)


def test_the_thread_that_calls_ray_ends_with_the_connection(head):
    _, connected = head
    thread = connected.call(threading.current_thread)
    assert thread.name == "calls of Ray"
    connected.ray = SimpleNamespace(shutdown=lambda: None)
    connected.leave()
    thread.join(10)
    assert not thread.is_alive()


def test_a_head_that_is_gone_ends_in_a_sentence_within_seconds(two_nodes):
    """The last test, since the others need that head."""
    counting = Counting(two_nodes.address)
    counting.wait_for(10)
    killed = time.monotonic()
    for node in two_nodes.nodes:
        node.kill()
    assert f"the head of the Ray cluster at {two_nodes.address} is gone" in counting.refusal()
    assert time.monotonic() - killed < 30
