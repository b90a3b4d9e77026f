"""The machine's cores and memory, and a bounded, order-keeping map over threads."""

import math
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import TypeVar

import psutil

A = TypeVar("A")
B = TypeVar("B")


CGROUP = Path("/sys/fs/cgroup")
OWN_GROUPS = Path("/proc/self/cgroup")
# The limit, what is taken, and what of it is cached files, which the system drops on demand: in
# version 2 of control groups and in version 1.
_MEMORY_FILES = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.high", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def available_cores(cgroup: Path = CGROUP, own: Path = OWN_GROUPS) -> int:
    """Cores that this process may use: the affinity mask on Linux (all of them elsewhere), or fewer
    where its control group or one above it has a quota of CPU time, rounded up.

    Args:
        cgroup: where control groups are mounted. own: the file that names those of this process.
    """
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    quotas = map(_cpu_quota, _control_groups(("cpu", "cpu,cpuacct"), cgroup, own))
    least = min((quota for quota in quotas if quota is not None), default=cores)
    return max(1, min(cores, math.ceil(least)))


def _control_groups(controllers: tuple[str, ...], cgroup: Path, own: Path) -> Iterator[Path]:
    """The folders of the control groups that this process is in, of version 2 and of the
    controllers of version 1, each from the outermost group on. Some may not exist: a container
    sees its own group as the outermost one, whatever it is called outside."""
    inside = {}
    with suppress(OSError, ValueError):
        for line in own.read_text(encoding="utf-8").splitlines():
            _, names, path = line.split(":", 2)
            inside[names] = path
    for name in ("", *controllers):
        folder = cgroup / name
        yield folder
        for part in PurePosixPath(inside.get(name, "/")).parts[1:]:
            if part == "..":  # of a group outside of what is mounted here
                break
            folder /= part
            yield folder


def _cpu_quota(group: Path) -> float | None:
    """CPU seconds per second that a control group may use; None without a limit."""
    with suppress(OSError, ValueError, ZeroDivisionError):  # no such file, or no limit: "max"
        quota, period = (group / "cpu.max").read_text(encoding="ascii").split()
        return int(quota) / int(period)
    with suppress(OSError, ValueError, ZeroDivisionError):
        quota, period = (
            int((group / f"cpu.cfs_{name}_us").read_text(encoding="ascii"))
            for name in ("quota", "period")
        )
        return quota / period if quota > 0 else None
    return None


def available_memory(cgroup: Path = CGROUP, own: Path = OWN_GROUPS) -> int:
    """Bytes that this process may still take: what the system has free, or less where its control
    group or one above it is limited. Arguments are those of `available_cores`."""
    free = psutil.virtual_memory().available
    for group in _control_groups(("memory",), cgroup, own):
        for limit, usage, cached in _MEMORY_FILES:
            with suppress(OSError, ValueError):  # no such file, or no limit: "max"
                most, used = (
                    int((group / name).read_text(encoding="ascii")) for name in (limit, usage)
                )
                free = min(free, max(0, most - used + _statistic(group, cached)))
    return free


def _statistic(group: Path, name: str) -> int:
    """A number of bytes in a control group's statistics of memory; 0 where it is not there."""
    with suppress(OSError, ValueError):
        for line in (group / "memory.stat").read_text(encoding="ascii").splitlines():
            if line.startswith(f"{name} "):
                return int(line.split()[1])
    return 0


class MemoryBudget:
    """Lets threads take memory in turns, so that together they stay within a share of what was
    available when the first one asked. One that asks for more than that works alone."""

    def __init__(self, share: float = 0.5, available: Callable[[], int] = available_memory):
        self._share, self._available = share, available
        self._limit: int | None = None
        self._taken = 0
        self._change = threading.Condition()

    @contextmanager
    def reserve(self, size: int) -> Iterator[None]:
        """Wait until `size` bytes are within the budget, and hold them during the block."""
        if size == 0:
            yield
            return
        with self._change:
            if self._limit is None:
                self._limit = int(self._available() * self._share)
            self._change.wait_for(lambda: not self._taken or self._taken + size <= self._limit)
            self._taken += size
        try:
            yield
        finally:
            with self._change:
                self._taken -= size
                self._change.notify_all()


def map_in_order(
    function: Callable[[A], B], items: Iterable[A], workers: int | None = None
) -> Iterator[B]:
    """Yield `function(item)` in the order of `items`, computed by `workers` threads, by default one
    per core.

    Unlike `Executor.map` it draws items only as results are taken, so a stream of images is never
    in memory as a whole: at most 2 * `workers` + 1 items are being processed. An exception of
    `function` is raised where its result would have come, one of `items` when the item is drawn; in
    both cases, and when the caller stops early, pending items are dropped.
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
