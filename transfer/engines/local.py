"""The engine of one machine: threads of this process."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from transfer.engines.base import Function, Tag, Work
from transfer.runtime.cores import map_in_order


class LocalEngine:
    @contextmanager
    def start(self, work: Work) -> Iterator["LocalWorkers"]:
        yield LocalWorkers(work.start())


class LocalWorkers:
    def __init__(self, function: Function):
        self.about = function.about
        self._function = function

    def map(self, batches: Iterable[tuple[Tag, list]]) -> Iterator[tuple[Tag, Sequence]]:
        return (
            map(self._run, batches)
            if self._function.uses_all_cores
            else map_in_order(self._run, batches)
        )

    def _run(self, batch: tuple[Tag, list]) -> tuple[Tag, Sequence]:
        tag, items = batch
        return tag, self._function(items)
