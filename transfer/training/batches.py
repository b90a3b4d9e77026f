"""Training batches: inputs, targets and sample weights, each batch a pure function of (seed, epoch,
step)."""

import math
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, NamedTuple, TypeVar

import numpy as np
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from transfer.runtime.params import Params
from transfer.storage.arrays import take
from transfer.storage.shard_cache import Layout

CHUNK_BYTES = 2**23  # of inputs in one call of the compiled training steps
Item = TypeVar("Item")


class BatchParams(Params):
    """Batch size, class weights, label smoothing, mixup and seed; docs/training.md explains each
    key."""

    batch_size: PositiveInt
    class_weight: Literal["balanced"] | None
    label_smoothing: float = Field(ge=0, lt=1)
    mixup: NonNegativeFloat
    seed: NonNegativeInt

    @property
    def uses_soft_targets(self) -> bool:
        """Whether some targets are neither 0 nor 1."""
        return bool(self.label_smoothing or self.mixup)


class Batch(NamedTuple):
    """inputs (b, ...), targets (b, T) and weights (b,), all float32."""

    inputs: np.ndarray
    targets: np.ndarray
    weights: np.ndarray


def training_batches(
    inputs: np.ndarray,
    labels: np.ndarray,
    targets_of: Callable[[np.ndarray], np.ndarray],
    weights: np.ndarray,
    params: BatchParams,
    epoch: int,
) -> Iterator[Batch]:
    """The batches of an epoch.

    Args:
        inputs: (N, ...); if they are sharded, the order of their shards is announced to them, so
            that they can read ahead.
        labels: int (N,).
        targets_of: labels (b,) -> targets, float32 (b, T); batch by batch, because one number per
            image and class is too much for many of both.
        weights: sample weights, float32 (N,).
        epoch: counted from 0.
    """
    layout = getattr(inputs, "layout", None)
    windows = draw_windows(len(labels), layout, params.seed, epoch)
    if layout is not None:
        inputs.read_in(windows)
    for step, rows in enumerate(
        epoch_batches(len(labels), params.batch_size, params.seed, epoch, layout, windows)
    ):
        # Keras's losses can smooth too, but would smooth the labels of validation images as well
        targets = smooth(targets_of(labels[rows]), params.label_smoothing)
        batch = Batch(read_rows(inputs, rows), targets, weights[rows])
        yield (
            mix(batch, *mixture(len(rows), params.mixup, params.seed, epoch, step))
            if params.mixup
            else batch
        )


def stack_batches(batches: Iterable[Batch], at_most: int = CHUNK_BYTES) -> Iterator[Batch]:
    """Consecutive batches of one size as one: inputs (K, b, ...), targets (K, b, T), weights
    (K, b).

    K is as large as `at_most` bytes of inputs allow, at least 1.
    """
    stacked = []
    for batch in batches:
        full = len(stacked) >= max(1, at_most // batch.inputs.nbytes)
        if stacked and (full or len(batch.inputs) != len(stacked[0].inputs)):
            yield Batch(*map(np.stack, zip(*stacked, strict=True)))
            stacked = []
        stacked.append(batch)
    if stacked:
        yield Batch(*map(np.stack, zip(*stacked, strict=True)))


def read_ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The same items, each made by another thread while the one before it is in use.

    What making an item raises is raised here, in its place.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="batches") as reader:
        coming = reader.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = reader.submit(next, items, None)
            yield item


def draw_windows(n: int, layout: Layout | None, seed: int, epoch: int) -> list[list[int]]:
    """The shards that an epoch shuffles together, as lists of shard numbers: a single window if
    there are at most `layout.window` shards.

    Otherwise the shards are shuffled by a generator seeded with (seed, epoch) and divided into as
    few windows as possible, of nearly equal length: a last window of one or two shards would end
    each epoch on rows that look alike.
    """
    count = 1 if layout is None else math.ceil(n / layout.shard_rows)
    if layout is None or count <= layout.window:
        return [list(range(count))]
    order = np.random.default_rng([seed, epoch]).permutation(count)
    return [window.tolist() for window in np.array_split(order, math.ceil(count / layout.window))]


def epoch_batches(
    n: int, batch_size: int, seed: int, epoch: int, layout: Layout | None, windows: list[list[int]]
) -> Iterator[np.ndarray]:
    """The row numbers of each step of an epoch, int (b,), a function of (seed, epoch, layout) only;
    the last batch may be smaller.

    With a single window the rows 0..n-1 are shuffled by a generator seeded with (seed, epoch),
    whether they are sharded or not. With several, the rows of each window are shuffled separately,
    as MosaicML's Streaming does (`py1b`): first the order of shards, then rows within blocks of
    several shards. Nguyen et al. 2022, "Why Globally Re-shuffle?", IPDPS, measure what that costs.
    A batch may contain rows of two windows.
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
        # the third number is 1 or more in the seeds of mixtures
        shuffled = np.random.default_rng([seed, epoch, 0, number + 1]).permutation(rows)
        rest = np.concatenate([rest, shuffled])
        for start in range(0, len(rest) - batch_size + 1, batch_size):
            yield rest[start : start + batch_size]
        rest = rest[len(rest) // batch_size * batch_size :]
    if len(rest):
        yield rest


def warn_if_sorted_by_class(inputs: np.ndarray, labels: np.ndarray) -> str | None:
    """A warning if the data does not fit one shuffle window and is sorted by class, because it
    would hardly be shuffled; None otherwise."""
    layout = getattr(inputs, "layout", None)
    count = 0 if layout is None else math.ceil(len(labels) / layout.shard_rows)
    if layout is None or count <= layout.window or (np.diff(labels) < 0).any():
        return None
    return (
        f"WARNING: the rows lie class by class in {count} shards, of which arrays.window = "
        f"{layout.window} are shuffled at a time; set split.order to checksum, or raise the window"
    )


def read_rows(array: np.ndarray, rows: np.ndarray | slice) -> np.ndarray:
    """Rows as models take them, float32 (b, ...), whatever dtype they are stored in."""
    return take(array, rows).astype(np.float32, copy=False)


def sample_weights(
    labels: np.ndarray, class_weight: str | None, own: np.ndarray | None = None
) -> np.ndarray:
    """Sample weights, float32 (N,): all 1, or `balanced` by scikit-learn's definition; times each
    image's own weight, float32 (N,), if there are any."""
    if own is not None:
        return own * sample_weights(labels, class_weight)
    if class_weight is None:
        return np.ones(len(labels), dtype=np.float32)
    # imported only if needed: it takes a second
    from sklearn.utils.class_weight import compute_sample_weight

    return compute_sample_weight(class_weight, labels).astype(np.float32)


def smooth(targets: np.ndarray, share: float) -> np.ndarray:
    """Targets (N, T) of which `share` is spread evenly over all classes (Szegedy et al. 2016,
    arXiv:1512.00567); T = 1 means two classes."""
    return (
        (targets * (1 - share) + share / max(2, targets.shape[1])).astype(np.float32)
        if share
        else targets
    )


def mixture(
    n: int, alpha: float, seed: int, epoch: int, step: int
) -> tuple[np.float32, np.ndarray]:
    """How a batch of n is mixed: the share that each example keeps, drawn from Beta(alpha, alpha),
    and the row that it is mixed with, int (n,)."""
    # step + 1, since NumPy ignores a last 0: step 0 would have the generator of the epoch's shuffle
    rng = np.random.default_rng([seed, epoch, step + 1])
    return np.float32(rng.beta(alpha, alpha)), rng.permutation(n)


def mix(batch: Batch, share: np.float32, partners: np.ndarray) -> Batch:
    """Mixup (Zhang et al. 2018, arXiv:1710.09412): `share` of each example and the rest of its
    partner, inputs and targets alike.

    If sample weights differ, the loss is the mean of both examples' weighted losses: the weights
    are mixed too, and the targets in proportion to them.
    """
    rest = 1 - share
    own, others = share * batch.weights, rest * batch.weights[partners]
    weights = own + others
    inputs = share * batch.inputs + rest * batch.inputs[partners]
    targets = own[:, None] * batch.targets + others[:, None] * batch.targets[partners]
    # if neither image counts, their targets do not either
    return Batch(inputs, targets / np.where(weights > 0, weights, 1)[:, None], weights)
