"""The pool of workers and a worker, without Ray."""

import pickle
import tempfile
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from transfer.cluster import batches
from transfer.cluster.ray_engine import RayWorkerPool, _Actor
from transfer.cluster.worker import Worker
from transfer.engines.base import try_job
from transfer.runtime.errors import PipelineError
from transfer.runtime.pins import versions
from transfer.runtime.resource_params import ResourceParams


class RayError(Exception):
    """Ray's own."""


def answer(items: list) -> tuple[bool, object]:
    """A worker's answer: one batch fails."""
    return (False, PipelineError("broken")) if items == ["broken"] else (True, items)


class FakeRay:
    """What the pool calls of Ray. Workers answer at once; those in `silent` do not."""

    exceptions = SimpleNamespace(RayError=RayError)

    def __init__(self):
        self.sent: list[tuple[_Actor, list]] = []
        self.silent: list[_Actor] = []
        self.dead: list[_Actor] = []

    def put(self, content: object) -> object:
        return content

    def wait(self, references: list, num_returns: int, timeout: float) -> tuple[list, list]:
        done = [each for each in references if self.sent[each][0] not in self.silent][:num_returns]
        return done, [each for each in references if each not in done]

    def get(self, reference: int) -> tuple[bool, object]:
        actor, items = self.sent[reference]
        if actor in self.dead:
            raise RayError
        return answer(items)

    def kill(self, handle: object) -> None:
        pass

    def worker(self, node: str) -> _Actor:
        actor = _Actor(None, None, None, node, ready=True)

        def remote(items: list) -> int:
            self.sent.append((actor, items))
            return len(self.sent) - 1

        actor.handle = SimpleNamespace(call=SimpleNamespace(remote=remote))
        return actor


def pool_of(*nodes: str) -> RayWorkerPool:
    """A worker on each node, which takes two batches at a time."""
    ray = FakeRay()
    cluster = SimpleNamespace(
        ray=ray,
        address="here:1",
        nodes=lambda: dict.fromkeys(nodes, {"CPU": 1}),
        answers=lambda node: True,
        call=lambda work, *arguments: work(*arguments),
    )
    work = SimpleNamespace(files=(), needs_gpu=False, overlaps=False)
    made = RayWorkerPool(cluster, work, ResourceParams(engine="ray", worker_cpus=1), [])
    made._actors = [ray.worker(node) for node in nodes]
    return made


@pytest.fixture
def pool() -> RayWorkerPool:
    return pool_of("node")


@pytest.fixture
def slow_pool(monkeypatch) -> RayWorkerPool:
    """Two workers, of which the first does not answer."""
    monkeypatch.setattr(batches, "SLOW_SECONDS", 0.0)
    made = pool_of("slow", "fast")
    made._ray.silent.append(made._actors[0])
    return made


def numbered(count: int) -> Iterator[tuple[int, list[int]]]:
    return ((number, [number]) for number in range(count))


def test_batches_of_a_slow_worker_are_copied_and_the_first_result_counts(slow_pool):
    slow, fast = slow_pool._actors
    assert dict(slow_pool.map(numbered(6))) == {number: [number] for number in range(6)}
    sent = slow_pool._ray.sent
    of_slow = [items for actor, items in sent if actor is slow]
    assert len(of_slow) == 2 and len(sent) == 6 + 2
    assert [items for actor, items in sent[6:] if actor is fast] == of_slow
    slow_pool._ray.silent.clear()  # its results come when the next map goes on
    later = list(slow_pool.map(numbered(6)))
    assert sorted(later) == [(number, [number]) for number in range(6)]
    assert len(sent) == 6 + 2 + 6


def test_no_copy_is_made_of_a_batch_that_takes_as_long_as_the_others(slow_pool, monkeypatch):
    monkeypatch.setattr(batches, "SLOW_SECONDS", 60.0)
    slow, _ = slow_pool._actors
    before = slow_pool._ray.wait

    def wait(references: list, num_returns: int, timeout: float) -> tuple[list, list]:
        done, others = before(references, num_returns, timeout)
        if not done:  # only the slow worker has something left
            slow_pool._ray.silent.clear()
        return done, others

    monkeypatch.setattr(slow_pool._ray, "wait", wait)
    assert len(dict(slow_pool.map(numbered(6)))) == 6
    assert len(slow_pool._ray.sent) == 6


def test_a_worker_that_ends_with_a_batch_that_was_copied_costs_nothing(slow_pool):
    slow, _ = slow_pool._actors
    came = []
    for tag, _ in slow_pool.map(numbered(6)):
        came.append(tag)
        if len(came) == 5:  # one copy has come
            slow_pool._ray.dead.append(slow)
            slow_pool._ray.silent.clear()
            slow_pool._start_actor = slow_pool._ray.worker
    assert sorted(came) == [0, 1, 2, 3, 4, 5]


class OddError(Exception):
    """Cannot be made again from its pickle, as some stores' errors."""

    def __init__(self, code: int, message: str):
        super().__init__(f"{code}: {message}")


def test_an_error_that_cannot_be_pickled_comes_as_its_message(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def fail(items: list) -> list:
        raise OddError(507, "the disk is full")

    worker = Worker()
    worker._function = fail
    went_well, error = pickle.loads(pickle.dumps(worker.call([1])))
    assert not went_well and str(error) == "OddError: 507: the disk is full"
    assert "raise OddError" in error.__notes__[0]
    failed = pickle.loads(pickle.dumps(try_job(fail, [1])))
    assert str(failed.error) == "OddError: 507: the disk is full"


def test_batches_that_are_done_come_before_the_error_of_another(pool):
    named = ((name, [name]) for name in ("first", "broken", "last"))
    came = []
    with pytest.raises(PipelineError, match="broken"):
        for tag, results in pool.map(named):
            came.append((tag, results))
    assert came == [("first", ["first"])]


def test_a_worker_that_cannot_unpack_leaves_nothing_on_its_disk(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(FileExistsError):  # for a folder in its place
        Worker().unpack(b"", {"data": b"", "data/weights": b""}, {})
    assert list(tmp_path.iterdir()) == []


def test_a_worker_with_other_versions_is_refused_before_it_gets_work(pool):
    pool._packages = ["numpy"]
    (actor,) = pool._actors
    actor.ready = False
    old = versions(["numpy"]) | {"numpy": "1.0"}
    said = {"host": "old-node", "versions": old, "about": "the same"}
    with pytest.raises(PipelineError, match=r"old-node has other versions .*: numpy 1\.0 \(here "):
        pool._register_actor(actor, said)
    assert not actor.ready and not pool._ray.sent
