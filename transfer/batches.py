"""What each training step sees: rows, targets and weights, every batch a pure function of (seed, epoch, step)."""

from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from transfer.arrays import take
from transfer.params import Params


class BatchParams(Params):
    batch_size: PositiveInt
    class_weight: Literal["balanced"] | None
    label_smoothing: float = Field(ge=0, lt=1)
    mixup: NonNegativeFloat
    seed: NonNegativeInt

    @property
    def softens(self) -> bool:
        """Whether targets are no longer all 0 or 1."""
        return bool(self.label_smoothing or self.mixup)


class Batch(NamedTuple):
    """inputs (b, ...), targets (b, T) and weights (b,), all float32."""

    inputs: np.ndarray
    targets: np.ndarray
    weights: np.ndarray


def training_batches(inputs: np.ndarray, targets: np.ndarray, weights: np.ndarray, params: BatchParams, epoch: int) -> Iterator[Batch]:
    """The batches of an epoch, from all its inputs (N, ...), targets float32 (N, T) and weights float32 (N,)."""
    targets = smooth(targets, params.label_smoothing)
    for step, rows in enumerate(epoch_batches(len(targets), params.batch_size, params.seed, epoch)):
        batch = Batch(read_rows(inputs, rows), targets[rows], weights[rows])
        yield mix(batch, *mixture(len(rows), params.mixup, params.seed, epoch, step)) if params.mixup else batch


def epoch_batches(n: int, batch_size: int, seed: int, epoch: int) -> Iterator[np.ndarray]:
    """The rows of each step of an epoch: a shuffle of 0..n-1 drawn from (seed, epoch), the last batch maybe smaller."""
    order = np.random.default_rng([seed, epoch]).permutation(n)
    for start in range(0, n, batch_size):
        yield order[start : start + batch_size]


def read_rows(array: np.ndarray, rows: np.ndarray | slice) -> np.ndarray:
    """Rows as the models take them, whatever they are stored as: float32 (b, ...)."""
    return take(array, rows).astype(np.float32, copy=False)


def sample_weights(labels: np.ndarray, class_weight: str | None) -> np.ndarray:
    """How much each example counts, float32 (N,): all the same, or `balanced` by scikit-learn's definition."""
    if class_weight is None:
        return np.ones(len(labels), dtype=np.float32)
    from sklearn.utils.class_weight import compute_sample_weight  # a second to import, so only for who wants it

    return compute_sample_weight(class_weight, labels).astype(np.float32)


def smooth(targets: np.ndarray, share: float) -> np.ndarray:
    """Take `share` of each target (N, T) and spread it over all classes (Szegedy et al. 2016, arXiv:1512.00567); T = 1 has two."""
    return (targets * (1 - share) + share / max(2, targets.shape[1])).astype(np.float32) if share else targets


def mixture(n: int, alpha: float, seed: int, epoch: int, step: int) -> tuple[np.float32, np.ndarray]:
    """How a batch of n is mixed: the share that each example keeps, from Beta(alpha, alpha), and whom it is mixed with, int (n,)."""
    rng = np.random.default_rng([seed, epoch, step + 1])  # a last 0 would count for nothing, and repeat the epoch's shuffle
    return np.float32(rng.beta(alpha, alpha)), rng.permutation(n)


def mix(batch: Batch, share: np.float32, partners: np.ndarray) -> Batch:
    """Mixup (Zhang et al. 2018, arXiv:1710.09412): `share` of each example and the rest of its partner, inputs and targets alike.

    Where examples count differently, the loss is the mean of both examples' weighted losses: weights are mixed too, and targets by them.
    """
    rest = 1 - share
    own, others = share * batch.weights, rest * batch.weights[partners]
    inputs = share * batch.inputs + rest * batch.inputs[partners]
    targets = (own[:, None] * batch.targets + others[:, None] * batch.targets[partners]) / (own + others)[:, None]
    return Batch(inputs, targets, own + others)
