"""The engine of one machine: threads of this process."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

from transfer.engines.base import BatchId, Task, TaskFunction
from transfer.runtime.cores import available_cores, map_in_order


class LocalEngine:
    """Runs a task in threads of this process."""

    @property
    def cores(self) -> int:
        return available_cores()

    @contextmanager
    def start(self, work: Task) -> Iterator["LocalWorkerPool"]:
        """Load the task, as `Engine` specifies."""
        function = work.start()
        is_ended = isinstance(function, AbstractContextManager)
        with function if is_ended else nullcontext():
            yield LocalWorkerPool(function)


class LocalWorkerPool:
    """One thread per core, or the calling thread for a task that uses all cores itself."""

    def __init__(self, function: TaskFunction):
        self.about = function.about
        self._function = function

    def map(self, batches: Iterable[tuple[BatchId, list]]) -> Iterator[tuple[BatchId, Sequence]]:
        """Process batches in their order, as `WorkerPool` specifies."""
        return (
            map(self._run, batches)
            if self._function.uses_all_cores
            else map_in_order(self._run, batches)
        )

    def _run(self, batch: tuple[BatchId, list]) -> tuple[BatchId, Sequence]:
        tag, items = batch
        return tag, self._function(items)
