"""What a stage and the engine that runs its map over images know of each other."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

BatchId = TypeVar("BatchId")


class TaskFunction(Protocol):
    """Does a batch of items, and gives a result an item, in their order. A result depends on its
    item alone."""

    # what the stage must know before it begins; the same on every worker, or their results would
    # not be the same bytes
    about: Any
    uses_all_cores: bool  # by itself, so that one batch at a time is enough

    def __call__(self, items: list) -> Sequence: ...


class Task(Protocol):
    """A job, in plain values, so that it can be sent anywhere. `start` is called once in each
    process that works."""

    files: tuple[Path, ...]  # of the project, which `start` reads
    needs_gpu: bool
    # of the packages that decide the stage's bytes, those that a worker may do without
    unused_packages: tuple[str, ...]

    @property
    def start(self) -> Callable[[], TaskFunction]: ...


@dataclass(frozen=True)
class Crashed:
    """In place of a result: the item ended every process that worked on it."""

    attempts: int


class WorkerPool(Protocol):
    about: Any

    def map(self, batches: Iterable[tuple[BatchId, list]]) -> Iterator[tuple[BatchId, Sequence]]:
        """Do batches of items, in any order: the tag that came with each, and the results of its
        items in their order.

        Batches are drawn only as workers are free: a stream is never held in memory whole. An
        exception of the work's own is raised here.
        """


class Engine(Protocol):
    def start(self, work: Task) -> AbstractContextManager[WorkerPool]:
        """Bring up the workers; they are let go when the block ends."""


def batches_of(items: Iterable, size: int) -> Iterator[list]:
    """Lists of `size` items, the last one maybe shorter."""
    batch = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
