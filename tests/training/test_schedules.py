"""The learning rate of each step, compared with its formulas, Keras's own schedules, and what a
training used."""

import keras
import numpy as np
import pytest
from pydantic import ValidationError

from tests.helpers.tiny_sources import TRAINING
from tests.training.test_loop import examples, params
from transfer.classifiers.head import build_head
from transfer.compute.training_steps import build_training_steps
from transfer.dataset.examples import Examples
from transfer.training.loop import TrainingParams, compile_classifier, fit
from transfer.training.schedules import count_plateau_drops, learning_rate_factor

STEPS = 5


def shares(losses: tuple[float, ...] = (), **changes) -> list[float]:
    """Of every step of a training of `epochs` epochs."""
    chosen = params(**changes)
    return [
        learning_rate_factor(chosen, epoch, step, STEPS, losses[:epoch])
        for epoch in range(chosen.epochs)
        for step in range(STEPS)
    ]


def test_a_constant_rate_is_the_rate():
    assert shares() == [1.0] * 3 * STEPS


@pytest.mark.parametrize("schedule", ["constant", "cosine", "plateau"])
def test_a_warm_up_rises_by_equal_parts_to_all_of_it(schedule):
    assert shares(schedule=schedule, warmup_epochs=2)[: 2 * STEPS] == pytest.approx(
        [(step + 1) / 10 for step in range(10)]
    )
    assert shares(schedule=schedule, warmup_epochs=2)[2 * STEPS] == 1.0


@pytest.mark.parametrize("warmup_epochs", [0, 1])
def test_a_cosine_is_keras_own(warmup_epochs):
    epochs = 4
    falling = keras.optimizers.schedules.CosineDecay(
        1.0, decay_steps=(epochs - warmup_epochs) * STEPS
    )
    expected = [float(falling(step)) for step in range((epochs - warmup_epochs) * STEPS)]
    assert shares(schedule="cosine", warmup_epochs=warmup_epochs, epochs=epochs)[
        warmup_epochs * STEPS :
    ] == pytest.approx(expected, abs=1e-6)


def test_a_plateau_lowers_the_rate_after_so_many_epochs_without_a_lower_loss():
    found = shares(
        (0.5, 0.6, 0.5, 0.4, 0.4, 0.4, 0.4),
        epochs=8,
        schedule="plateau",
        plateau_factor=0.1,
        plateau_patience=2,
    )
    assert found[::STEPS] == pytest.approx([1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01])


@pytest.mark.parametrize("patience", [1, 2, 3])
def test_plateaus_are_those_of_keras(patience):
    losses = np.random.default_rng(0).random(60).round(2) + np.linspace(0.3, 0, 60)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(1.0), "mse")
    callback = keras.callbacks.ReduceLROnPlateau(
        "val_loss", factor=0.5, patience=patience, min_delta=0
    )
    callback.set_model(model)
    callback.on_train_begin()
    for epoch, loss in enumerate(losses):
        callback.on_epoch_end(epoch, {"val_loss": loss})
        assert 0.5 ** count_plateau_drops(losses[: epoch + 1], patience) == float(
            model.optimizer.learning_rate
        )
    assert count_plateau_drops(losses, patience) > 3


def rates_used(monkeypatch, validation_labels: np.ndarray, **changes) -> list[float]:
    """The rate of every step of a training; tests/compute/test_training_steps.py shows that each
    step is taken at its own."""
    keras.utils.set_random_seed(0)  # the head's first weights decide whether it gets worse
    data = examples(10)
    chosen = params(learning_rate=0.5, optimizer="sgd", **changes)
    head = build_head((1, 1, 6), 4, 0, False, 2)
    compile_classifier(head, chosen)
    used = []

    def recorded(model: keras.Model):
        steps = build_training_steps(model)

        def run(inputs, targets, weights, rates):
            reports = steps(inputs, targets, weights, rates)
            used.extend(rates.tolist())
            assert float(model.optimizer.learning_rate) == used[-1]
            return reports

        return run

    monkeypatch.setattr("transfer.training.loop.build_training_steps", recorded)
    fit(
        head,
        lambda epoch: data.inputs,
        data.labels,
        Examples(data.inputs, validation_labels),
        chosen,
    )
    return used


def test_a_training_takes_its_steps_at_these_rates(monkeypatch):
    used = rates_used(monkeypatch, np.arange(10) % 2, schedule="cosine", warmup_epochs=1)
    assert used == pytest.approx(
        [
            0.5 * share
            for share in (1 / 3, 2 / 3, 1, *(0.5 * (1 + np.cos(np.pi * i / 6)) for i in range(6)))
        ]
    )


def test_a_training_that_gets_worse_lowers_its_rate(monkeypatch):
    """Validation labels contradict the others, so that its loss is never again as low as after the
    first epoch."""
    used = rates_used(
        monkeypatch, (np.arange(10) + 1) % 2, schedule="plateau", plateau_patience=1, epochs=4
    )
    assert used == [0.5] * 6 + [0.25] * 3 + [0.125] * 3


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"warmup_epochs": 3}, "warmup_epochs = 3 leaves none of the 3 epochs"),
        (
            {"schedule": "plateau", "patience": 3},
            "patience = 3 ends a training before plateau_patience = 3 lowers its rate",
        ),
        ({"schedule": "step"}, "'constant', 'cosine' or 'plateau'"),
        ({"plateau_factor": 1}, "less than 1"),
        ({"warmup_epochs": -1}, "greater than or equal to 0"),
    ],
)
def test_schedules_that_cannot_be_are_refused(changes, words):
    with pytest.raises(ValidationError, match=words):
        TrainingParams(**TRAINING | changes)
