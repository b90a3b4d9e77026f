"""Interface between a stage and the engine that maps a function over its images."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

BatchId = TypeVar("BatchId")


class TaskFunction(Protocol):
    """Processes a batch of items: one result per item, in their order. A result depends only on its
    item."""

    # Facts that the stage needs before the first batch. They must be equal on all workers, or the
    # results would not be the same bytes.
    about: Any
    uses_all_cores: bool  # if so, one batch at a time is processed

    def __call__(self, items: list) -> Sequence: ...


class Task(Protocol):
    """The work of a stage as plain values, so that it can be pickled. `start` is called once per
    worker process."""

    files: tuple[Path, ...]  # files of the project that `start` reads
    needs_gpu: bool
    # packages that decide the stage's bytes but that a worker does not need
    unused_packages: tuple[str, ...]

    @property
    def start(self) -> Callable[[], TaskFunction]: ...


@dataclass(frozen=True)
class Crashed:
    """Takes the place of a result if the item ended every process that worked on it.

    attempts: number of processes that it ended.
    """

    attempts: int


class WorkerPool(Protocol):
    """Workers that are ready to process batches; `about` is that of their TaskFunction."""

    about: Any

    def map(self, batches: Iterable[tuple[BatchId, list]]) -> Iterator[tuple[BatchId, Sequence]]:
        """Process batches of items, in any order; yields each batch's id with the results of its
        items in their order.

        Batches are drawn only when a worker is free, so a stream is never in memory as a whole. An
        exception of the task is raised here.
        """


class Engine(Protocol):
    """Starts workers for a task, on this machine or on a cluster."""

    def start(self, work: Task) -> AbstractContextManager[WorkerPool]:
        """Start the workers; they are stopped when the block ends."""


def batches_of(items: Iterable, size: int) -> Iterator[list]:
    """Lists of `size` items; the last one may be shorter."""
    batch = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
