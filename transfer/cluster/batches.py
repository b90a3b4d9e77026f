"""Batches on the way to workers and back: whose results they are, and which of them an idle worker
computes a second time."""

import statistics
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

SLOW_FACTOR = 2.0  # a batch is slow if it takes so many times as long as the recent ones
SLOW_SECONDS = 5.0  # and longer than this: what is faster is not worth a second computation
RECENT = 64  # batches whose seconds are remembered


@dataclass(eq=False)
class Whole:
    """A batch of the stage: its results, of which `open` have not come."""

    tag: Any
    results: list
    open: int


@dataclass(eq=False)
class Batch:
    """Items to compute, with their places in the batch of the stage.

    attempts: how many workers ended while they had it. holders: how many workers have it now.
    sent: when the first of these got it, by the monotonic clock.
    """

    items: list
    places: list[int]
    whole: Whole
    attempts: int = 0
    holders: int = 0
    sent: float = 0.0
    is_done: bool = False

    def fill(self, results: Sequence) -> None:
        """Put the results of all items in their places."""
        for place, result in zip(self.places, results, strict=True):
            self.whole.results[place] = result
        self.whole.open -= len(self.places)
        self.is_done = True


def new_batch(tag: Any, items: list) -> Batch:
    """A batch of the stage that no worker has had yet."""
    whole = Whole(tag, [None] * len(items), len(items))
    return Batch(items, list(range(len(items))), whole)


class SlowBatches:
    """Finds batches that are worth a copy: MapReduce's backup tasks. The first result counts; both
    are the same, and shards are named by their content."""

    def __init__(self) -> None:
        self._recent: deque[float] = deque(maxlen=RECENT)

    def note(self, batch: Batch) -> None:
        """Remember how long a batch took that has come back."""
        self._recent.append(time.monotonic() - batch.sent)

    def slowest(self, under_way: Iterable[Batch]) -> Batch | None:
        """The batch that one worker has had for longest, if it is slow and ended no worker."""
        if not self._recent:
            return None
        single = (
            batch
            for batch in under_way
            if batch.holders == 1 and not batch.is_done and not batch.attempts
        )
        oldest = min(single, key=lambda batch: batch.sent, default=None)
        limit = max(SLOW_SECONDS, SLOW_FACTOR * statistics.median(self._recent))
        return oldest if oldest and time.monotonic() - oldest.sent > limit else None
