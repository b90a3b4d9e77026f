"""The pool of workers and a worker, without Ray."""

import tempfile
from types import SimpleNamespace

import pytest

from transfer.cluster.ray_engine import RayWorkerPool, _Actor
from transfer.cluster.worker import Worker
from transfer.runtime.errors import PipelineError
from transfer.runtime.resource_params import ResourceParams


class RayError(Exception):
    """Ray's own."""


def answer(items: list) -> tuple[bool, object]:
    """A worker's answer: one batch fails."""
    return (False, PipelineError("broken")) if items == ["broken"] else (True, items)


@pytest.fixture
def pool():
    """One worker that takes three batches and answers them at once."""
    answers = []

    def remote(items: list) -> int:
        answers.append(answer(items))
        return len(answers) - 1

    ray = SimpleNamespace(
        put=lambda content: content,
        wait=lambda references, num_returns, timeout: (
            references[:num_returns],
            references[num_returns:],
        ),
        get=answers.__getitem__,
        exceptions=SimpleNamespace(RayError=RayError),
    )
    cluster = SimpleNamespace(
        ray=ray,
        address="here:1",
        nodes=lambda: {"node": {"CPU": 2}},
        call=lambda work, *arguments: work(*arguments),
    )
    work = SimpleNamespace(files=(), needs_gpu=False, overlaps=False)
    params = ResourceParams(engine="ray", worker_cpus=2)
    made = RayWorkerPool(cluster, work, params, [])
    handle = SimpleNamespace(call=SimpleNamespace(remote=remote))
    made._actors = [_Actor(handle, None, None, "node", ready=True)]
    return made


def test_batches_that_are_done_come_before_the_error_of_another(pool):
    batches = ((name, [name]) for name in ("first", "broken", "last"))
    came = []
    with pytest.raises(PipelineError, match="broken"):
        for tag, results in pool.map(batches):
            came.append((tag, results))
    assert came == [("first", ["first"])]


def test_a_worker_that_cannot_unpack_leaves_nothing_on_its_disk(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(FileExistsError):  # for a folder in its place
        Worker().unpack(b"", {"data": b"", "data/weights": b""}, {})
    assert list(tmp_path.iterdir()) == []
