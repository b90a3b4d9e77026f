"""Interface between a stage and the engine that maps a function over its images."""

import copy
import itertools
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any, Protocol, TypeVar

from transfer.runtime.errors import PipelineError

BatchId = TypeVar("BatchId")
Job = TypeVar("Job")
Result = TypeVar("Result")


class TaskFunction(Protocol):
    """Processes a batch of items: one result per item, in their order. A result depends only on its
    item. If it is also a context manager, the local engine ends it when the workers are stopped; on
    a cluster its process ends."""

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
    # Whether a worker gets two calls at a time, because one waits for a store while the other
    # computes. Such a function limits by itself how much it computes at once.
    overlaps: bool

    @property
    def start(self) -> Callable[[], TaskFunction]: ...


@dataclass(frozen=True)
class Crashed:
    """Takes the place of a result if the item ended every process that worked on it.

    attempts: number of processes that it ended.
    """

    attempts: int


@dataclass(frozen=True)
class Failed:
    """Takes the place of a result for `finish_jobs` if the job failed."""

    error: Exception


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

    cores: int  # CPU cores of one worker

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


def try_job(work: Callable[[Job], Result], job: Job) -> Result | Failed:
    """The result of `work` for a job, or why it failed, for `finish_jobs`."""
    try:
        return work(job)
    except PipelineError as error:
        return Failed(error)
    except Exception as error:
        return Failed(as_sent(error))


def as_sent(error: Exception) -> Exception:
    """An error as another process can receive it: with its traceback as a note, because that is not
    pickled with it. An error that cannot be pickled, or not be made again from its pickle, becomes
    a RuntimeError with the same message."""
    note = traceback.format_exc()
    try:
        ForkingPickler.dumps(error)
        copy.copy(error)  # is made from what a pickle has
    except Exception:
        error = RuntimeError(f"{type(error).__qualname__}: {error}")
    error.add_note(note)
    return error


def finish_jobs(
    workers: WorkerPool,
    jobs: Iterable[tuple[BatchId, Job]],
    explain: Callable[[BatchId, Crashed], Exception],
) -> Iterator[tuple[BatchId, Any]]:
    """Let workers do jobs, of which each is a batch of its own, in any order; yields each job's id
    with its result.

    When a job fails, no other is begun. Those that are under way are finished and their results
    yielded before the first error is raised, because the results took long and are stored already.

    Args:
        workers: whose function uses `try_job`.
        explain: the error for a job that ended every process that worked on it.
    """
    errors: list[Exception] = []
    batches = ((tag, [job]) for tag, job in itertools.takewhile(lambda _: not errors, jobs))
    for tag, (result,) in workers.map(batches):
        if isinstance(result, Failed):
            errors.append(result.error)
        elif isinstance(result, Crashed):
            errors.append(explain(tag, result))
        else:
            yield tag, result
    if errors:
        raise errors[0]
