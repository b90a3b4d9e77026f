"""Seconds of `split`, `decode` and `extract` on a cluster, predicted from two smaller runs of them.

Two runs of different sizes give what a stage costs whatever the number of images, per image in its
own process, and per image on a worker. The simulated map then plays a larger run, or one in which a
node ends. Beside it stands processor time, which other programs on the machine hardly change: a
straight line through that of both runs.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from benchmarks.scale_study.simulated_map import Costs, Trouble, play
from transfer.sources.source_file import SCAN_ENTRIES

MAPS = ("split", "decode", "extract")
SHARES = (0.8, 0.1, 0.1)  # of the images for train, validation and test
KILLED_AFTER = 1 / 3  # of the shards of train


@dataclass(frozen=True)
class Measured:
    """A run of one stage: images, seconds by the clock, and seconds of processor time of the
    stage's own process and of all workers."""

    images: int
    seconds: float
    driver: float
    workers: float

    @property
    def processor(self) -> float:
        return self.driver + self.workers


@dataclass(frozen=True)
class StageCosts:
    """Seconds of a stage.

    start: without any image: Python, Ray, the workers. driver: per image in the stage's own
    process, most of it before and after the map. worker: per image on a worker. processor_start,
    processor: processor time without any image, and per image.
    """

    start: float
    driver: float
    worker: float
    processor_start: float = 0.0
    processor: float = 0.0


def batch_sizes(stage: str, images: int, shard_rows: int) -> list[list[int]]:
    """Images of each batch of each map of a stage: `split` sends files, `decode` all shards in one
    map, `extract` the shards of each array in a map of its own."""
    if stage == "split":
        return [_divide(images, SCAN_ENTRIES)]
    arrays = [_divide(round(images * share), shard_rows) for share in SHARES]
    return [sum(arrays, [])] if stage == "decode" else arrays


def _divide(images: int, size: int) -> list[int]:
    return [min(size, images - first) for first in range(0, images, size)]


def predict(
    stage: str,
    costs: StageCosts,
    images: int,
    nodes: int,
    shard_rows: int,
    *,
    is_lossy: bool = False,
) -> float:
    """Seconds of a stage on nodes of one worker each.

    Args:
        is_lossy: whether one node ends after a third of the first map, for good.
    """
    seconds = costs.start + costs.driver * images
    for number, sizes in enumerate(batch_sizes(stage, images, shard_rows)):
        compute = costs.worker * sum(sizes) / max(1, len(sizes))
        at = KILLED_AFTER * compute * math.ceil(len(sizes) / nodes)
        is_hit = is_lossy and number == 0
        trouble = Trouble(losses=[(at, nodes - 1)] if is_hit else [], is_replaced=False)
        left = nodes - 1 if is_lossy and number > 0 else nodes
        if sizes and compute:
            seconds += play(len(sizes), left, 1, Costs([compute], 0.0), trouble).seconds
    return seconds


def calibrate(
    stage: str, small: Measured, large: Measured, nodes: int, shard_rows: int
) -> StageCosts:
    """The costs with which `predict` gives the seconds of both runs, as far as none is negative."""
    more = large.images - small.images
    driver = max(0.0, (large.driver - small.driver) / more)

    def mapped(worker: float) -> list[float]:
        costs = StageCosts(0.0, driver, worker)
        return [predict(stage, costs, run.images, nodes, shard_rows) for run in (small, large)]

    unit = 1e-3  # seconds per image; without losses a map takes time in proportion to this
    driver_alone, with_unit = mapped(0.0), mapped(unit)
    per_unit = [both - alone for both, alone in zip(with_unit, driver_alone, strict=True)]
    rest = large.seconds - small.seconds - driver * more
    worker = max(0.0, unit * rest / (per_unit[1] - per_unit[0]))
    start = max(0.0, small.seconds - mapped(worker)[0])
    processor = (large.processor - small.processor) / more
    return StageCosts(start, driver, worker, small.processor - processor * small.images, processor)


def compare(
    costs: dict[str, StageCosts],
    runs: Sequence[tuple[str, bool, dict[str, Measured]]],
    nodes: int,
    shard_rows: int,
) -> pd.DataFrame:
    """The table of predicted and measured seconds, by the clock and of processor time.

    Args:
        runs: of each run its name, whether a node ended during `extract`, and what was measured of
            its stages.
    """
    rows = []
    for name, is_lossy, stages in runs:
        for stage in MAPS:
            own, done = costs[stage], stages[stage]
            lossy = is_lossy and stage == "extract"
            seconds = predict(stage, own, done.images, nodes, shard_rows, is_lossy=lossy)
            processor = own.processor_start + own.processor * done.images
            rows.append(
                {
                    "run": name,
                    "stage": stage,
                    "predicted s": seconds,
                    "measured s": done.seconds,
                    "ratio": seconds / done.seconds,
                    "predicted processor s": processor,
                    "measured processor s": done.processor,
                    "ratio of these": processor / done.processor,
                }
            )
    return pd.DataFrame(rows).round(2)
