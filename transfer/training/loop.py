"""The training loop: epochs over arrays, validation, early stopping, checkpoints. Each step is a
pure function of (seed, epoch, step)."""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, Self

import numpy as np
import pandas as pd
from pydantic import Field, PositiveInt, model_validator

from transfer.compute.keras import keras
from transfer.compute.losses import binary_crossentropy
from transfer.compute.training_steps import (
    TrainingSteps,
    build_training_steps,
    choose_jit_compile,
)
from transfer.dataset.examples import Examples
from transfer.runtime.checkpoints import Checkpoint, State
from transfer.runtime.errors import PipelineError
from transfer.runtime.progress import progress_bar
from transfer.storage.arrays import inference_batch_rows
from transfer.training.batches import (
    Batch,
    BatchParams,
    read_ahead,
    read_rows,
    sample_weights,
    stack_batches,
    training_batches,
    warn_if_sorted_by_class,
)
from transfer.training.optimizers import (
    OptimizerParams,
    averaged,
    build_optimizer,
    unwrap_optimizer,
    use_averages,
)
from transfer.training.schedules import ScheduleParams, learning_rate_factor

SHOW_EVERY = 1.0  # seconds; an epoch may take a hundredth of one


class TrainingParams(OptimizerParams, ScheduleParams, BatchParams):
    """What all trainings have in common; docs/training.md explains each key."""

    patience: PositiveInt | None
    checkpoint: Literal["best", "last"]

    @model_validator(mode="after")
    def _waits_for_the_plateau(self) -> Self:
        if (
            self.schedule == "plateau"
            and self.patience is not None
            and self.patience <= self.plateau_patience
        ):
            raise ValueError(
                f"patience = {self.patience} ends a training before plateau_patience = "
                f"{self.plateau_patience} lowers its rate; choose more"
            )
        return self


class HeadTrainingParams(TrainingParams):
    """A training of a head: its layers as well."""

    units: PositiveInt
    dropout: float = Field(ge=0, lt=1)
    normalize: bool


class ConvolutionTrainingParams(TrainingParams):
    """A training of convolutions.

    instructions: `avx2` gives the same bytes on every x86-64 processor that has AVX2; `all` lets
        oneDNN use what the processor has.
    """

    instructions: Literal["avx2", "all"] = "avx2"


@dataclass(frozen=True)
class Fitted:
    """The result of a training.

    history: one row per epoch, with epoch, loss, accuracy, val_loss, val_accuracy. epoch: the epoch
        whose weights the model has, from 1.
    """

    history: pd.DataFrame
    epoch: int


def compile_classifier(model: keras.Model, params: TrainingParams, by_layer: bool = False) -> None:
    """Compile a model that ends in logits (B, L): binary cross-entropy for L = 1, otherwise
    categorical cross-entropy.

    Args:
        by_layer: whether `fit` will be called with `rates`.
    """
    if model.output_shape[-1] == 1:
        loss = binary_crossentropy
        accuracy = (
            keras.metrics.MeanMetricWrapper(_majority_accuracy)
            if params.uses_soft_targets
            else keras.metrics.BinaryAccuracy(threshold=0.0)
        )
    elif params.uses_soft_targets:
        loss, accuracy = (
            keras.losses.CategoricalCrossentropy(from_logits=True),
            keras.metrics.CategoricalAccuracy(),
        )
    else:
        loss, accuracy = (
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            keras.metrics.SparseCategoricalAccuracy(),
        )
    accuracy.name = "accuracy"
    model.compile(
        optimizer=build_optimizer(params, by_layer),
        loss=loss,
        weighted_metrics=[],
        metrics=[accuracy],
        jit_compile=choose_jit_compile(),
    )


def _majority_accuracy(targets, logits):
    """Whether each logit (B, 1) predicts the class with the larger part of its target: a mixed
    image counts as an image of that class."""
    return keras.ops.cast(keras.ops.equal(targets > 0.5, logits > 0), "float32")


@dataclass
class _Progress:
    """What changes from epoch to epoch besides the model: the history so far, and the best epoch
    with its weights."""

    rows: list[dict] = field(default_factory=list)
    best_loss: float = np.inf
    best_epoch: int = 0
    best_weights: list[np.ndarray] | None = None

    @property
    def losses(self) -> list[float]:
        """The validation loss of each epoch."""
        return [row["val_loss"] for row in self.rows]

    def has_stalled(self, patience: int | None) -> bool:
        """Whether the last `patience` epochs had no lower validation loss; None waits for ever."""
        return patience is not None and len(self.rows) - 1 - self.best_epoch >= patience

    def add_epoch(self, trained: dict[str, float], check: dict[str, float]) -> bool:
        """Add what an epoch's training and its validation report; whether it is the best so far."""
        is_best = check["loss"] < self.best_loss
        if is_best:
            self.best_loss, self.best_epoch = check["loss"], len(self.rows)
        validated = {f"val_{name}": value for name, value in check.items()}
        self.rows.append({"epoch": len(self.rows) + 1, **trained, **validated})
        return is_best


def fit(
    model: keras.Model,
    inputs_of: Callable[[int], np.ndarray],
    labels: np.ndarray,
    validation: Examples,
    params: TrainingParams,
    checkpoint: Checkpoint | None = None,
    show: Callable[[pd.DataFrame], None] | None = None,
    rates: Callable[[int], np.ndarray] | None = None,
    own_weights: np.ndarray | None = None,
) -> Fitted:
    """Train a compiled classifier in place and leave it with the weights to keep.

    Args:
        inputs_of: returns the training inputs (N, ...) of an epoch, counted from 0; augmented views
            change by epoch.
        labels: int (N,).
        validation: its loss decides early stopping and `checkpoint: best`.
        checkpoint: may hold the state of a process that was stopped; training then resumes and ends
            with the same bytes. A new state is saved between epochs.
        show: called with the history so far, about once a second.
        rates: returns the share of the learning rate that each trainable variable has in an epoch,
            counted from 0: float32 (variables,).
        own_weights: how much each training image counts, float32 (N,); None: all the same.

    The history's training loss is that of the smoothed and mixed targets. Its validation loss is
    always the plain one, of the averaged weights under `ema_momentum`, so that runs can be
    compared. Neither includes the L2 penalty.

    Raises:
        PipelineError: the loss is no longer finite.
    """
    weights = sample_weights(labels, params.class_weight, own_weights)
    model.optimizer.build(model.trainable_variables)
    train, steps = build_training_steps(model), math.ceil(len(labels) / params.batch_size)
    progress = _resume(model, checkpoint)
    shown = 0.0
    epochs = range(len(progress.rows), params.epochs)
    with progress_bar(
        epochs,
        desc=f"{model.name}: epochs",
        unit="epoch",
        initial=len(progress.rows),
        total=params.epochs,
    ) as bar:
        for epoch in bar:
            if progress.has_stalled(params.patience):
                break
            if rates is not None:
                unwrap_optimizer(model).factors.assign(rates(epoch))
            inputs = inputs_of(epoch)
            if epoch == epochs.start and (remark := warn_if_sorted_by_class(inputs, labels)):
                bar.write(f"{model.name}: {remark}")
            batches = training_batches(
                inputs, labels, partial(_targets, model), weights, params, epoch
            )
            trained = _average(
                _train_epoch(train, batches, _learning_rates(params, epoch, steps, progress.losses))
            )
            with averaged(model):
                check = validate(model, validation)
                if progress.add_epoch(trained, check) and params.checkpoint == "best":
                    progress.best_weights = model.get_weights()
            bar.set_postfix_str(
                f"loss {trained['loss']:.3f}, validation loss {check['loss']:.3f}, accuracy "
                f"{check['accuracy']:.3f}",
                refresh=False,
            )
            if not np.isfinite([trained["loss"], check["loss"]]).all():
                raise PipelineError(
                    f"the loss is not finite in epoch {epoch + 1}; lower learning_rate = "
                    f"{params.learning_rate:g}"
                )
            if show is not None and time.monotonic() - shown >= SHOW_EVERY:
                shown = time.monotonic()
                show(pd.DataFrame(progress.rows))
            if checkpoint is not None and checkpoint.is_due():
                checkpoint.save(_state(model, progress))
    use_averages(model)
    if progress.best_weights is not None:
        model.set_weights(progress.best_weights)
    return Fitted(
        pd.DataFrame(progress.rows),
        progress.best_epoch + 1 if params.checkpoint == "best" else len(progress.rows),
    )


def _train_epoch(
    train: TrainingSteps,
    batches: Iterator[Batch],
    rates: np.ndarray,
) -> Iterator[tuple[int, dict[str, float]]]:
    """Train on each batch at its step's learning rate, float32 (steps,): yields the number of
    examples and what Keras reports, batch by batch."""
    step = 0
    for chunk in read_ahead(stack_batches(batches)):
        count, size = chunk.inputs.shape[:2]
        reports = train(*chunk, rates[step : step + count])
        step += count
        for values in zip(*reports.values(), strict=True):
            yield size, dict(zip(reports, map(float, values), strict=True))


def _learning_rates(
    params: TrainingParams, epoch: int, steps: int, losses: list[float]
) -> np.ndarray:
    """The learning rate of each step of an epoch, float32 (steps,)."""
    shares = [learning_rate_factor(params, epoch, step, steps, losses) for step in range(steps)]
    return np.array([params.learning_rate * share for share in shares], dtype=np.float32)


def _state(model: keras.Model, progress: _Progress) -> State:
    """All that the next epoch depends on; the state of dropout is among the model's variables."""
    arrays = {
        "model": [keras.ops.convert_to_numpy(variable) for variable in model.variables],
        "optimizer": [
            keras.ops.convert_to_numpy(variable) for variable in model.optimizer.variables
        ],
        "best": progress.best_weights or [],
    }
    return State(
        {"rows": progress.rows, "best_loss": progress.best_loss, "best_epoch": progress.best_epoch},
        arrays,
    )


def _resume(model: keras.Model, checkpoint: Checkpoint | None) -> _Progress:
    """Restore the state that an earlier process saved and print so; without one, start at the
    beginning."""
    state = checkpoint.load() if checkpoint is not None else None
    if state is None:
        return _Progress()
    for variable, array in zip(
        model.variables + model.optimizer.variables,
        state.arrays["model"] + state.arrays["optimizer"],
        strict=True,
    ):
        variable.assign(array)
    numbers = state.numbers
    print(f"{model.name}: resuming after epoch {len(numbers['rows'])} of an interrupted run")
    return _Progress(
        numbers["rows"], numbers["best_loss"], numbers["best_epoch"], state.arrays["best"] or None
    )


def validate(model: keras.Model, examples: Examples) -> dict[str, float]:
    """Loss and accuracy over all examples, counted and then divided."""
    labels = examples.labels
    step = inference_batch_rows(examples.inputs.shape[1:])
    batches = (slice(start, start + step) for start in range(0, len(labels), step))
    return _average(
        (
            len(labels[batch]),
            model.test_on_batch(
                read_rows(examples.inputs, batch),
                _targets(model, labels[batch]),
                return_dict=True,
            ),
        )
        for batch in batches
    )


def _average(batches: Iterable[tuple[int, dict[str, float]]]) -> dict[str, float]:
    """Means over all examples, from (number of examples, what Keras reports) of each batch."""
    sizes, reports = zip(*batches, strict=True)
    return {
        name: float(np.average([report[name] for report in reports], weights=sizes))
        for name in ("loss", "accuracy")
    }


def _targets(model: keras.Model, labels: np.ndarray) -> np.ndarray:
    """Labels as the model's loss takes them: float32 (N, 1), or one-hot (N, C) if targets can be
    soft."""
    if isinstance(model.loss, keras.losses.CategoricalCrossentropy):
        return (labels[:, None] == np.arange(model.output_shape[-1])).astype(np.float32)
    return labels.reshape(-1, 1).astype(np.float32)
