"""Training: what is kept, when it stops, and that nothing but the arguments decides it."""

import keras
import numpy as np
import pytest
from pydantic import ValidationError

from tests.helpers.tiny_sources import TRAINING
from transfer.classifiers.head import build_head
from transfer.classifiers.probabilities import probabilities
from transfer.classifiers.saved import predict_logits
from transfer.dataset.examples import Examples
from transfer.runtime.errors import PipelineError
from transfer.training.batches import epoch_batches
from transfer.training.loop import (
    HeadTrainingParams,
    TrainingParams,
    compile_classifier,
    fit,
    validate,
)


def params(**changes) -> TrainingParams:
    return TrainingParams(**TRAINING | changes)


def examples(n: int, n_classes: int = 2, seed: int = 0, signal: float = 2.0) -> Examples:
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % n_classes
    inputs = rng.random((n, 1, 1, 6), dtype=np.float32)
    inputs[np.arange(n), 0, 0, labels] += signal
    return Examples(inputs, labels)


def train(
    train_on: Examples, validation: Examples, n_classes: int = 2, dropout: float = 0, **changes
):
    keras.utils.set_random_seed(1)
    head = build_head((1, 1, 6), units=8, dropout=dropout, normalize=False, n_classes=n_classes)
    chosen = params(**changes)
    compile_classifier(head, chosen)
    return head, fit(
        head,
        lambda epoch: train_on.inputs,
        train_on.labels,
        validation,
        chosen,
        own_weights=train_on.weights,
    )


@pytest.mark.parametrize("n_classes", [2, 3])
def test_history_has_a_row_an_epoch_and_the_last_one_is_the_models_own(n_classes):
    data, validation = examples(22, n_classes), examples(13, n_classes, seed=1)
    head, fitted = train(data, validation, n_classes)
    assert fitted.history["epoch"].tolist() == [1, 2, 3]
    assert list(fitted.history.columns) == ["epoch", "loss", "accuracy", "val_loss", "val_accuracy"]
    check = validate(head, validation)
    assert check == {
        "loss": fitted.history["val_loss"].iloc[-1],
        "accuracy": fitted.history["val_accuracy"].iloc[-1],
    }
    predicted = probabilities(predict_logits(head, validation.inputs)).argmax(axis=1)
    assert check["accuracy"] == pytest.approx((predicted == validation.labels).mean())


def test_validation_is_counted_over_all_examples_not_averaged_over_batches(monkeypatch):
    validation = examples(13, seed=1, signal=0.3)
    head, _ = train(examples(20), validation)
    whole = validate(head, validation)
    monkeypatch.setattr("transfer.storage.arrays.ROWS_AT_ONCE", 5)
    assert validate(head, validation) == pytest.approx(whole, rel=1e-6)


def test_the_training_loss_is_the_mean_over_all_images_of_the_epoch():
    data = examples(10)
    _, fitted = train(data, data, batch_size=4, epochs=1, learning_rate=1e-12)
    _, at_once = train(data, data, batch_size=10, epochs=1, learning_rate=1e-12)
    assert fitted.history["loss"][0] == pytest.approx(at_once.history["loss"][0], rel=1e-6)


def overfitting():
    """Training labels that contradict validation's: its loss rises from the first epoch on."""
    data = examples(24)
    return data, Examples(data.inputs, 1 - data.labels)


def test_keep_best_restores_the_weights_of_the_lowest_validation_loss():
    data, validation = overfitting()
    head, fitted = train(data, validation, checkpoint="best", epochs=5)
    assert fitted.epoch == fitted.history["val_loss"].idxmin() + 1 == 1
    assert len(fitted.history) == 5
    assert validate(head, validation)["loss"] == fitted.history["val_loss"].min()


def test_keep_last_leaves_the_last_epochs_weights():
    data, validation = overfitting()
    head, fitted = train(data, validation, checkpoint="last", epochs=5)
    assert fitted.epoch == 5
    assert validate(head, validation)["loss"] == fitted.history["val_loss"].iloc[-1]


def test_patience_stops_after_so_many_epochs_without_a_lower_loss():
    data, validation = overfitting()
    _, fitted = train(data, validation, patience=2, epochs=50)
    assert len(fitted.history) == 3


def test_the_same_arguments_give_the_same_weights_and_another_seed_does_not():
    data = examples(20)
    one, same, other = (
        train(data, data, seed=seed, dropout=0.5)[0].get_weights() for seed in (0, 0, 1)
    )
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_every_epoch_sees_every_row_once_in_an_order_of_its_own():
    orders = [np.concatenate(list(epoch_batches(10, 4, 0, epoch, None, [[0]]))) for epoch in (0, 1)]
    assert [sorted(order) for order in orders] == [list(range(10))] * 2
    assert orders[0].tolist() != orders[1].tolist()
    assert [len(batch) for batch in epoch_batches(10, 4, 0, 0, None, [[0]])] == [4, 4, 2]


def test_balanced_class_weights_lift_the_rare_class():
    rng = np.random.default_rng(0)
    labels = (np.arange(60) % 10 == 0).astype(int)
    data = Examples(rng.random((60, 1, 1, 6), dtype=np.float32), labels)
    mean_rare = {}
    for class_weight in (None, "balanced"):
        head, _ = train(data, data, class_weight=class_weight, epochs=10)
        mean_rare[class_weight] = probabilities(predict_logits(head, data.inputs))[:, 1].mean()
    assert mean_rare["balanced"] > mean_rare[None] + 0.1


@pytest.mark.parametrize("mixup", [0, 0.4])
def test_the_label_of_an_image_of_weight_0_teaches_nothing(mixup):
    data = examples(24)
    ignored = np.arange(24) % 3 == 0
    weights = np.where(ignored, 0, 1.5).astype(np.float32)
    learned = []
    for labels in (data.labels, np.where(ignored, 1 - data.labels, data.labels)):
        head, _ = train(Examples(data.inputs, labels, weights), data, mixup=mixup)
        learned.append(head.get_weights())
    unweighted, _ = train(data, data, mixup=mixup)
    assert all(np.array_equal(a, b) for a, b in zip(*learned, strict=True))
    assert not all(
        np.array_equal(a, b) for a, b in zip(learned[0], unweighted.get_weights(), strict=True)
    )


def test_an_epochs_view_is_the_one_that_was_asked_for():
    seen = []
    data = examples(8)
    keras.utils.set_random_seed(0)
    head = build_head((1, 1, 6), 4, 0, False, 2)
    chosen = params(epochs=4)
    compile_classifier(head, chosen)
    fit(head, lambda epoch: (seen.append(epoch), data.inputs)[1], data.labels, data, chosen)
    assert seen == [0, 1, 2, 3]


def test_a_loss_that_is_not_finite_names_epoch_and_rate():
    data = examples(8)
    with pytest.raises(
        PipelineError, match=r"not finite in epoch [12]; lower learning_rate = 1e\+30"
    ):
        train(data, data, learning_rate=1e30)


@pytest.mark.parametrize(
    "changes",
    [
        {"epochs": 0},
        {"learning_rate": "fast"},
        {"checkpoint": "first"},
        {"patience": 0},
        {"dropout": 0.5},
    ],
)
def test_wrong_training_parameters_are_refused(changes):
    with pytest.raises(ValidationError):
        params(**changes)


def test_a_learning_rate_as_dvc_writes_it_is_a_number():
    assert params(learning_rate="1e-05").learning_rate == 1e-5


def test_dropout_belongs_to_heads():
    assert HeadTrainingParams(**TRAINING, units=4, dropout=0.5, normalize=True).dropout == 0.5
