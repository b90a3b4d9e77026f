"""A bounded, order-keeping map over threads, which shares the cores with the project's other stages."""

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from typing import TypeVar

from transfer.running import stages_running

A = TypeVar("A")
B = TypeVar("B")

_LOOK_EVERY = 1.0  # seconds


def available_cores() -> int:
    """Cores that this process may use (the affinity mask on Linux, all of them elsewhere)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def core_share() -> int:
    """This process's part of the cores, at least 1, while other stages of the project run beside it."""
    return max(1, available_cores() // max(1, stages_running()))


class _Gate:
    """Lets as many threads in at once as this process's share of the cores, which changes as stages come and go."""

    def __init__(self):
        self._changed = threading.Condition()
        self._inside = self._share = 0
        self._looked = float("-inf")

    def _is_open(self) -> bool:
        if time.monotonic() - self._looked >= _LOOK_EVERY:
            self._share, self._looked = core_share(), time.monotonic()
        return self._inside < self._share

    @contextmanager
    def passed(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(self._is_open)
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()


def map_in_order(function: Callable[[A], B], items: Iterable[A], workers: int | None = None) -> Iterator[B]:
    """Yield `function(item)` in the order of `items`, computed by `workers` threads.

    By default there is one a core, of which as many work at a time as `core_share` says at that time.

    Unlike `Executor.map` it draws items only as results are taken, so a stream of images is never held in memory
    whole: at most 2 * `workers` + 1 are under way. An exception of `function` is raised where its result would have
    come, one of `items` when the item is drawn; either way, and when the caller stops early, what waits is dropped.
    """
    gate = nullcontext if workers else _Gate().passed
    workers = workers or available_cores()

    def compute(item: A) -> B:
        with gate():
            return function(item)

    pool = ThreadPoolExecutor(workers)
    try:
        pending = deque()
        for item in items:
            pending.append(pool.submit(compute, item))
            if len(pending) > 2 * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
