"""Keeps shards of an array in memory: a few if rows are read in sequence, two windows if a training
shuffles."""

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

import numpy as np

FEW_ROWS = 8  # rows of a shard that are read alone; for more the whole shard is read
SMALL = 2**20  # bytes; a smaller shard is always read whole
KEPT = 2  # shards used last, kept beside the one read ahead, if no read order is set
READERS = 8  # threads: one connection has a fraction of the store's bandwidth


@dataclass(frozen=True)
class Layout:
    """Rows of a shard, and shards that a training holds and shuffles at a time."""

    shard_rows: int
    window: int


@cache
def _readers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(READERS, thread_name_prefix="shards")


class ShardCache:
    """The shards of one array that are in memory or on their way; threads may share it.

    Without `set_read_order` it holds the KEPT shards that were used last, and the following one.
    With it, it holds the windows in use and the next one.

    Args:
        read: reads a whole shard.
        count: of all shards.
    """

    def __init__(self, read: Callable[[int], np.ndarray], count: int):
        self._read, self._count = read, count
        self._lock = threading.Lock()
        self._shards: dict[int, Future] = {}
        self._asked: Counter[int] = Counter()
        self._windows: list[list[int]] = []
        self._window_of: dict[int, int] = {}

    def set_read_order(self, windows: list[list[int]]) -> None:
        """Read rows window by window from now on; shards outside the first two windows are dropped
        when reading starts."""
        with self._lock:
            self._windows = windows
            self._window_of = {
                number: place for place, window in enumerate(windows) for number in window
            }

    def advance_to(self, numbers: list[int]) -> None:
        """Rows of these shards are read next: drop the shards before them, and read ahead."""
        with self._lock:
            places = [self._window_of[number] for number in numbers if number in self._window_of]
            if not places or len(places) < len(numbers):
                return
            first, last = min(places), max(places)
            wanted = [
                number
                for window in self._windows[first : max(last, first + 1) + 1]
                for number in window
            ]
            for number in self._shards.keys() - set(wanted):
                del self._shards[number]
            for number in wanted:
                self._start(number)

    def get(self, number: int, rows: int, size: int) -> np.ndarray | None:
        """A whole shard, or None if so few rows of `size` bytes are better read alone."""
        with self._lock:
            if number not in self._shards:
                self._asked[number] += rows
                if self._asked[number] <= FEW_ROWS and size > SMALL:
                    return None
                self._asked.pop(number)
            found = self._start(number)
            if number not in self._window_of:
                self._prefetch_next(number)
        try:
            return found.result()
        except BaseException:
            with self._lock:
                if self._shards.get(number) is found:
                    del self._shards[number]  # it is read again when it is wanted again
            raise

    def _prefetch_next(self, number: int) -> None:
        """Without an order: this shard is the one used last; read the next one ahead,
        drop the oldest."""
        self._shards[number] = self._shards.pop(number)
        if number + 1 < self._count:
            self._start(number + 1)
            self._shards[number + 1] = self._shards.pop(number + 1)
        while len(self._shards) > KEPT + 1:
            del self._shards[next(iter(self._shards))]

    def _start(self, number: int) -> Future:
        if number not in self._shards:
            self._shards[number] = _readers().submit(self._read, number)
        return self._shards[number]
