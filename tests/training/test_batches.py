"""What a training step sees: smoothed labels and mixed images, against what they are by hand."""

import threading

import keras
import numpy as np
import pytest
from pydantic import ValidationError

from tests.training.test_loop import examples, params
from transfer.classifiers.head import build_head
from transfer.classifiers.saved import predict_logits
from transfer.runtime.errors import PipelineError
from transfer.training.batches import (
    Batch,
    mix,
    mixture,
    read_ahead,
    sample_weights,
    smooth,
    stack_batches,
    training_batches,
)
from transfer.training.loop import compile_classifier, fit, validate


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        ([[0], [1]], [[0.1], [0.9]]),
        ([[1, 0, 0, 0], [0, 0, 1, 0]], [[0.85, 0.05, 0.05, 0.05], [0.05, 0.05, 0.85, 0.05]]),
    ],
)
def test_smoothing_spreads_a_share_of_each_label_over_all_classes(targets, expected):
    np.testing.assert_allclose(smooth(np.float32(targets), 0.2), expected, rtol=1e-6)


def test_a_mixed_batch_by_hand():
    batch = Batch(
        np.float32([[1, 2], [3, 4], [5, 6]]), np.float32([[0], [1], [1]]), np.ones(3, np.float32)
    )
    mixed = mix(batch, np.float32(0.75), np.array([1, 2, 0]))
    np.testing.assert_allclose(mixed.inputs, [[1.5, 2.5], [3.5, 4.5], [4, 5]])
    np.testing.assert_allclose(mixed.targets, [[0.25], [1], [0.75]])
    assert mixed.weights.tolist() == [1, 1, 1]


def test_mixing_examples_of_different_weight_mixes_their_weighted_losses():
    batch = Batch(np.float32([[1], [2]]), np.float32([[0], [1]]), np.float32([3, 0.5]))
    mixed = mix(batch, np.float32(0.75), np.array([1, 0]))
    for logit in (-1.0, 2.0):
        losses = cross_entropy(np.full((2, 1), logit), batch.targets)
        expected = 0.75 * batch.weights * losses + 0.25 * (batch.weights * losses)[::-1]
        np.testing.assert_allclose(
            mixed.weights * cross_entropy(np.full((2, 1), logit), mixed.targets),
            expected,
            rtol=1e-6,
        )


def test_the_mixture_is_of_seed_epoch_and_step_alone():
    where = [(seed, epoch, step) for seed in (0, 1) for epoch in (0, 1) for step in (0, 1)]
    drawn = [mixture(50, 0.4, *each) for each in where]
    again = [mixture(50, 0.4, *each) for each in where]
    assert all(
        a[0] == b[0] and a[1].tolist() == b[1].tolist() for a, b in zip(drawn, again, strict=True)
    )
    assert (
        len({float(share) for share, _ in drawn})
        == len({tuple(partners) for _, partners in drawn})
        == len(where)
    )
    assert drawn[0][0] != np.float32(np.random.default_rng([0, 0]).beta(0.4, 0.4)), (
        "the stream that shuffles the epoch"
    )


def test_shares_are_beta_distributed():
    shares = np.array([mixture(2, 0.4, 0, 0, step)[0] for step in range(4000)])
    assert shares.mean() == pytest.approx(0.5, abs=0.03)
    assert shares.var() == pytest.approx(1 / (4 * (2 * 0.4 + 1)), abs=0.01)


def test_own_weights_multiply_those_of_the_classes():
    labels, own = np.array([0, 0, 0, 1]), np.array([2, 0, 1, 1], np.float32)
    assert sample_weights(labels, None, own).tolist() == [2, 0, 1, 1]
    balanced = sample_weights(labels, "balanced", own)
    assert balanced == pytest.approx([4 / 3, 0, 2 / 3, 2])
    assert balanced.dtype == np.float32


ALL = {"label_smoothing": 0.2, "mixup": 0.4, "class_weight": "balanced"}


@pytest.mark.parametrize(
    ("n_classes", "changes"),
    [(2, {"label_smoothing": 0.2}), (3, {"mixup": 0.4}), (2, ALL), (3, ALL)],
)
def test_a_training_learns_from_these_and_is_validated_on_plain_labels(n_classes, changes):
    """At a rate of next to nothing, so that all losses are of one network."""
    data, validation = examples(11, n_classes), examples(7, n_classes, seed=1)
    keras.utils.set_random_seed(0)
    head = build_head((1, 1, 6), units=8, dropout=0, normalize=False, n_classes=n_classes)
    chosen = params(learning_rate=1e-12, epochs=1, **changes)
    compile_classifier(head, chosen)
    row = fit(head, lambda epoch: data.inputs, data.labels, validation, chosen).history.iloc[0]

    def targets_of(labels: np.ndarray) -> np.ndarray:
        return np.float32(labels[:, None] if n_classes == 2 else np.eye(n_classes)[labels])

    batches = list(
        training_batches(
            data.inputs,
            data.labels,
            targets_of,
            sample_weights(data.labels, chosen.class_weight),
            chosen,
            epoch=0,
        )
    )
    assert [len(batch.inputs) for batch in batches] == [4, 4, 3]
    losses = [
        batch.weights * cross_entropy(predict_logits(head, batch.inputs), batch.targets)
        for batch in batches
    ]
    assert row["loss"] == pytest.approx(np.concatenate(losses).mean(), rel=1e-4)
    logits = predict_logits(head, validation.inputs)
    assert row["val_loss"] == pytest.approx(
        cross_entropy(logits, targets_of(validation.labels)).mean(), rel=1e-5
    )
    predicted = (logits[:, 0] > 0).astype(int) if n_classes == 2 else logits.argmax(axis=1)
    assert row["val_accuracy"] == pytest.approx((predicted == validation.labels).mean())
    assert row["val_loss"] == validate(head, validation)["loss"]


def test_soft_targets_are_made_for_a_batch_at_a_time():
    """One number per image and class would be 4 GB here."""
    labels = np.arange(1_000_000) % 1000
    sizes = []

    def targets_of(labels: np.ndarray) -> np.ndarray:
        sizes.append(len(labels))
        return np.eye(1000, dtype=np.float32)[labels]

    inputs, weights = np.zeros((len(labels), 1), np.float32), np.ones(len(labels), np.float32)
    chosen = params(label_smoothing=0.1, batch_size=10)
    first = next(training_batches(inputs, labels, targets_of, weights, chosen, epoch=0))
    assert sizes == [10] and first.targets.shape == (10, 1000)


def test_the_training_accuracy_of_smoothed_labels_is_that_of_the_labels():
    data = examples(12)
    rows = []
    for smoothing in (0, 0.3):
        keras.utils.set_random_seed(0)
        head = build_head((1, 1, 6), units=8, dropout=0, normalize=False, n_classes=2)
        chosen = params(learning_rate=1e-12, epochs=1, label_smoothing=smoothing)
        compile_classifier(head, chosen)
        rows.append(fit(head, lambda epoch: data.inputs, data.labels, data, chosen).history.iloc[0])
    assert rows[0]["accuracy"] == rows[1]["accuracy"] > 0


@pytest.mark.parametrize(
    "changes", [{"label_smoothing": 1}, {"label_smoothing": -0.1}, {"mixup": -1}]
)
def test_shares_that_cannot_be_are_refused(changes):
    with pytest.raises(ValidationError):
        params(**changes)


def cross_entropy(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Of each row (N,), from logits and targets (N, T), as the textbook has it."""
    if logits.shape[1] == 1:
        p = 1 / (1 + np.exp(-logits.astype(float)))
        return -(targets * np.log(p) + (1 - targets) * np.log(1 - p))[:, 0]
    p = np.exp(logits.astype(float))
    return -(targets * np.log(p / p.sum(axis=1, keepdims=True))).sum(axis=1)


def some_batches(sizes: list[int]) -> list[Batch]:
    return [
        Batch(
            np.full((size, 2), i, np.float32),
            np.full((size, 1), i, np.float32),
            np.full(size, i, np.float32),
        )
        for i, size in enumerate(sizes)
    ]


@pytest.mark.parametrize(
    ("at_most", "expected"),
    [(10**6, [(4, 3), (1, 2)]), (2 * 3 * 2 * 4, [(2, 3), (2, 3), (1, 2)]), (1, [(1, 3)] * 4)],
)
def test_batches_of_one_size_are_stacked_as_far_as_memory_allows(at_most, expected):
    sizes = [3, 3, 3, 3] + ([2] if len(expected) < 4 else [])
    chunks = list(stack_batches(some_batches(sizes), at_most))
    assert [chunk.inputs.shape[:2] for chunk in chunks] == expected
    for chunk in chunks:
        assert chunk.inputs.shape[2:] == (2,)
        assert chunk.targets.shape == (*chunk.inputs.shape[:2], 1)
        assert chunk.weights.shape == chunk.inputs.shape[:2]
    order = np.concatenate([chunk.weights[:, 0] for chunk in chunks])
    assert order.tolist() == list(range(len(sizes)))


def test_the_next_item_is_made_while_one_is_in_use():
    made, threads = [], set()
    second = threading.Event()

    def items():
        for i in range(1, 4):
            made.append(i)
            threads.add(threading.current_thread())
            if i == 2:
                second.set()
            yield i

    reader = read_ahead(items())
    assert next(reader) == 1
    assert second.wait(10) and made == [1, 2]
    assert list(reader) == [2, 3]
    assert threading.current_thread() not in threads


def test_what_making_an_item_raises_comes_in_its_place():
    def items():
        yield 1
        raise PipelineError("a shard is missing")

    reader = read_ahead(items())
    assert next(reader) == 1
    with pytest.raises(PipelineError, match="a shard is missing"):
        next(reader)
