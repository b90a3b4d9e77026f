"""The machine's cores and memory, and a bounded, order-keeping map over threads."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import psutil

A = TypeVar("A")
B = TypeVar("B")


def available_cores() -> int:
    """Cores that this process may use (the affinity mask on Linux, all of them elsewhere)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def available_memory(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes that this process may still take: what the system has free, or less where its control
    group is limited."""
    free = psutil.virtual_memory().available
    with suppress(OSError, ValueError):  # no such group, or one without a limit: "max"
        limit, used = (
            int((cgroup / f"memory.{name}").read_text(encoding="ascii"))
            for name in ("max", "current")
        )
        free = min(free, max(0, limit - used))
    return free


def map_in_order(
    function: Callable[[A], B], items: Iterable[A], workers: int | None = None
) -> Iterator[B]:
    """Yield `function(item)` in the order of `items`, computed by `workers` threads, by default one
    per core.

    Unlike `Executor.map` it draws items only as results are taken, so a stream of images is never
    held in memory whole: at most 2 * `workers` + 1 are under way. An exception of `function` is
    raised where its result would have come, one of `items` when the item is drawn; either way, and
    when the caller stops early, what waits is dropped.
    """
    workers = workers or available_cores()
    pool = ThreadPoolExecutor(workers)
    try:
        pending = deque()
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > 2 * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
