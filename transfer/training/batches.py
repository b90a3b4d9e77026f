"""What each training step sees: rows, targets and weights, every batch a pure function of (seed,
epoch, step)."""

import math
from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from transfer.runtime.params import Params
from transfer.storage.arrays import take
from transfer.storage.shard_cache import Layout


class BatchParams(Params):
    batch_size: PositiveInt
    class_weight: Literal["balanced"] | None
    label_smoothing: float = Field(ge=0, lt=1)
    mixup: NonNegativeFloat
    seed: NonNegativeInt

    @property
    def uses_soft_targets(self) -> bool:
        """Whether targets are no longer all 0 or 1."""
        return bool(self.label_smoothing or self.mixup)


class Batch(NamedTuple):
    """inputs (b, ...), targets (b, T) and weights (b,), all float32."""

    inputs: np.ndarray
    targets: np.ndarray
    weights: np.ndarray


def training_batches(
    inputs: np.ndarray, targets: np.ndarray, weights: np.ndarray, params: BatchParams, epoch: int
) -> Iterator[Batch]:
    """The batches of an epoch, from all its inputs (N, ...), targets float32 (N, T) and weights
    float32 (N,).

    Inputs in shards are told in which windows they will be read, so that they can read ahead.
    """
    targets = smooth(targets, params.label_smoothing)
    layout = getattr(inputs, "layout", None)
    windows = draw_windows(len(targets), layout, params.seed, epoch)
    if layout is not None:
        inputs.read_in(windows)
    for step, rows in enumerate(
        epoch_batches(len(targets), params.batch_size, params.seed, epoch, layout, windows)
    ):
        batch = Batch(read_rows(inputs, rows), targets[rows], weights[rows])
        yield (
            mix(batch, *mixture(len(rows), params.mixup, params.seed, epoch, step))
            if params.mixup
            else batch
        )


def draw_windows(n: int, layout: Layout | None, seed: int, epoch: int) -> list[list[int]]:
    """Which shards of n rows an epoch reads together: all of them at once where they are no more
    than `layout.window`.

    Otherwise the shards are put in an order drawn from (seed, epoch) and divided into as few
    windows as can be, of nearly equal length: a last one of a shard or two would end each epoch on
    rows that look alike.
    """
    count = 1 if layout is None else math.ceil(n / layout.shard_rows)
    if layout is None or count <= layout.window:
        return [list(range(count))]
    order = np.random.default_rng([seed, epoch]).permutation(count)
    return [window.tolist() for window in np.array_split(order, math.ceil(count / layout.window))]


def epoch_batches(
    n: int, batch_size: int, seed: int, epoch: int, layout: Layout | None, windows: list[list[int]]
) -> Iterator[np.ndarray]:
    """The rows of each step of an epoch, the last batch maybe smaller, as a function of (seed,
    epoch, layout) alone.

    A single window is a shuffle of 0..n-1 drawn from (seed, epoch), whether in shards or not. Of
    several, the rows of each are shuffled in their turn, as in the block-wise shuffles of
    MosaicML's Streaming (`py1b`): first the order of shards, then rows within blocks of several
    shards. On what that costs: Nguyen et al. 2022, "Why Globally Re-shuffle?", IPDPS. A batch may
    lie across two windows.
    """
    if len(windows) == 1:
        order = np.random.default_rng([seed, epoch]).permutation(n)
        for start in range(0, n, batch_size):
            yield order[start : start + batch_size]
        return
    rest = np.empty(0, dtype=np.int64)
    for number, window in enumerate(windows):
        starts = [shard * layout.shard_rows for shard in window]
        rows = np.concatenate(
            [np.arange(start, min(n, start + layout.shard_rows)) for start in starts]
        )
        # mixtures have 1 and more in the third place
        shuffled = np.random.default_rng([seed, epoch, 0, number + 1]).permutation(rows)
        rest = np.concatenate([rest, shuffled])
        for start in range(0, len(rest) - batch_size + 1, batch_size):
            yield rest[start : start + batch_size]
        rest = rest[len(rest) // batch_size * batch_size :]
    if len(rest):
        yield rest


def warn_if_sorted_by_class(inputs: np.ndarray, labels: np.ndarray) -> str | None:
    """What a person should know who trains from more shards than a window holds: rows class by
    class are hardly shuffled then."""
    layout = getattr(inputs, "layout", None)
    count = 0 if layout is None else math.ceil(len(labels) / layout.shard_rows)
    if layout is None or count <= layout.window or (np.diff(labels) < 0).any():
        return None
    return (
        f"WARNING: the rows lie class by class in {count} shards, of which arrays.window = "
        f"{layout.window} are shuffled at a time; set split.order to checksum, or raise the window"
    )


def read_rows(array: np.ndarray, rows: np.ndarray | slice) -> np.ndarray:
    """Rows as the models take them, whatever they are stored as: float32 (b, ...)."""
    return take(array, rows).astype(np.float32, copy=False)


def sample_weights(labels: np.ndarray, class_weight: str | None) -> np.ndarray:
    """How much each example counts, float32 (N,):
    all the same, or `balanced` by scikit-learn's definition."""
    if class_weight is None:
        return np.ones(len(labels), dtype=np.float32)
    # a second to import, so only for who wants it
    from sklearn.utils.class_weight import compute_sample_weight

    return compute_sample_weight(class_weight, labels).astype(np.float32)


def smooth(targets: np.ndarray, share: float) -> np.ndarray:
    """Take `share` of each target (N, T) and spread it over all classes (Szegedy et al. 2016,
    arXiv:1512.00567); T = 1 has two."""
    return (
        (targets * (1 - share) + share / max(2, targets.shape[1])).astype(np.float32)
        if share
        else targets
    )


def mixture(
    n: int, alpha: float, seed: int, epoch: int, step: int
) -> tuple[np.float32, np.ndarray]:
    """How a batch of n is mixed: the share that each example keeps, from Beta(alpha, alpha), and
    whom it is mixed with, int (n,)."""
    # a last 0 would count for nothing, and repeat the epoch's shuffle
    rng = np.random.default_rng([seed, epoch, step + 1])
    return np.float32(rng.beta(alpha, alpha)), rng.permutation(n)


def mix(batch: Batch, share: np.float32, partners: np.ndarray) -> Batch:
    """Mixup (Zhang et al. 2018, arXiv:1710.09412): `share` of each example and the rest of its
    partner, inputs and targets alike.

    Where examples count differently, the loss is the mean of both examples' weighted losses:
    weights are mixed too, and targets by them.
    """
    rest = 1 - share
    own, others = share * batch.weights, rest * batch.weights[partners]
    inputs = share * batch.inputs + rest * batch.inputs[partners]
    targets = (own[:, None] * batch.targets + others[:, None] * batch.targets[partners]) / (
        own + others
    )[:, None]
    return Batch(inputs, targets, own + others)
