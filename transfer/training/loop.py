"""Training from cached arrays: every step a pure function of (seed, epoch, step)."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal, Self

import numpy as np
import pandas as pd
from pydantic import Field, PositiveInt, model_validator
from tqdm import tqdm

from transfer.compute.keras import keras
from transfer.dataset.examples import Examples
from transfer.runtime.checkpoints import Checkpoint, State
from transfer.runtime.errors import PipelineError
from transfer.storage.arrays import inference_batch_rows
from transfer.training.batches import (
    Batch,
    BatchParams,
    read_rows,
    sample_weights,
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

SHOW_EVERY = 1.0  # seconds: epochs may take a hundredth of one


class TrainingParams(OptimizerParams, ScheduleParams, BatchParams):
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
    units: PositiveInt
    dropout: float = Field(ge=0, lt=1)
    normalize: bool


class ConvolutionTrainingParams(TrainingParams):
    """instructions: avx2, the same bytes on every x86-64 processor that has it; or all that the
    processor has, where oneDNN computes."""

    instructions: Literal["avx2", "all"] = "avx2"


@dataclass(frozen=True)
class Fitted:
    """history: a row an epoch, with epoch, loss, accuracy, val_loss, val_accuracy. epoch: whose
    weights the model has."""

    history: pd.DataFrame
    epoch: int


def compile_classifier(model: keras.Model, params: TrainingParams, by_layer: bool = False) -> None:
    """Compile for training from logits (B, L): binary cross-entropy for one logit,
    categorical for more.

    Args:
        by_layer: whether `fit` gets `rates`.
    """
    if model.output_shape[-1] == 1:
        loss = _binary_crossentropy
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
    )


def _binary_crossentropy(targets, logits):
    """Keras's BinaryCrossentropy from logits, (B, 1) -> (B,).

    TensorFlow's gradient of log1p, which Keras's has in it, takes a reciprocal by an instruction
    that processors approximate differently. That of softplus is a sigmoid, which has none.
    """
    softplus = keras.ops.softplus
    return keras.ops.mean(targets * softplus(-logits) + (1 - targets) * softplus(logits), axis=-1)


def _majority_accuracy(targets, logits):
    """Whether each logit (B, 1) is on the side where most of its target is: a mixed image counts as
    the larger part of it."""
    return keras.ops.cast(keras.ops.equal(targets > 0.5, logits > 0), "float32")


@dataclass
class _Progress:
    """What changes from epoch to epoch beside the model: losses, and which epoch's weights are to
    be kept."""

    rows: list[dict] = field(default_factory=list)
    best_loss: float = np.inf
    best_epoch: int = 0
    best_weights: list[np.ndarray] | None = None

    @property
    def losses(self) -> list[float]:
        return [row["val_loss"] for row in self.rows]


def fit(
    model: keras.Model,
    inputs_of: Callable[[int], np.ndarray],
    labels: np.ndarray,
    validation: Examples,
    params: TrainingParams,
    checkpoint: Checkpoint | None = None,
    show: Callable[[pd.DataFrame], None] | None = None,
    rates: Callable[[int], np.ndarray] | None = None,
) -> Fitted:
    """Train a compiled classifier in place and leave it with the weights to keep.

    Args:
        inputs_of: the training inputs (N, ...) of an epoch, counted from 0; views change by epoch.
        labels: int (N,).
        validation: what early stopping and `checkpoint: best` look at (the validation loss).
        checkpoint: of an earlier process that was stopped in between; training goes on from there
            to the same end, bit for bit.
        show: gets the history so far about once a second, for whoever watches.
        rates: what share of the learning rate each trainable variable has in an epoch, counted from
            0: float32 (variables,).

    The history's training loss is of what was trained on, smoothed and mixed; its validation loss
    is always the plain one, of the averaged weights under `ema_momentum`, so that runs compare.
    Neither has the L2 penalty in it.

    Raises:
        PipelineError: the loss is no longer finite.
    """
    targets = _targets(model, labels)
    weights = sample_weights(labels, params.class_weight)
    model.optimizer.build(model.trainable_variables)
    progress = _resume(model, checkpoint)
    shown = 0.0
    epochs = range(len(progress.rows), params.epochs)
    with tqdm(
        epochs,
        desc=f"{model.name}: epochs",
        unit="epoch",
        initial=len(progress.rows),
        total=params.epochs,
    ) as bar:
        for epoch in bar:
            if params.patience is not None and epoch - 1 - progress.best_epoch >= params.patience:
                break
            if rates is not None:
                unwrap_optimizer(model).factors.assign(rates(epoch))
            inputs = inputs_of(epoch)
            if epoch == epochs.start and (remark := warn_if_sorted_by_class(inputs, labels)):
                bar.write(f"{model.name}: {remark}")
            batches = training_batches(inputs, targets, weights, params, epoch)
            trained = _average(
                _steps(
                    model,
                    batches,
                    params,
                    epoch,
                    -(-len(labels) // params.batch_size),
                    progress.losses,
                )
            )
            with averaged(model):
                check = validate(model, validation)
                if check["loss"] < progress.best_loss:
                    progress.best_loss, progress.best_epoch = check["loss"], epoch
                    progress.best_weights = (
                        model.get_weights() if params.checkpoint == "best" else None
                    )
            progress.rows.append(
                {
                    "epoch": epoch + 1,
                    **trained,
                    **{f"val_{name}": value for name, value in check.items()},
                }
            )
            bar.set_postfix_str(
                f"loss {trained['loss']:.3f}, validation loss {check['loss']:.3f}, accuracy "
                f"{check['accuracy']:.3f}"
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


def _steps(
    model: keras.Model,
    batches: Iterable[Batch],
    params: TrainingParams,
    epoch: int,
    steps: int,
    losses: list[float],
) -> Iterator[tuple[int, dict[str, float]]]:
    """Train on each batch at its step's rate: number of examples, and what Keras reports."""
    for step, batch in enumerate(batches):
        model.optimizer.learning_rate = params.learning_rate * learning_rate_factor(
            params, epoch, step, steps, losses
        )
        yield (
            len(batch.inputs),
            model.train_on_batch(
                batch.inputs, batch.targets, sample_weight=batch.weights, return_dict=True
            ),
        )


def _state(model: keras.Model, progress: _Progress) -> State:
    """All that the next epoch depends on; the model's variables hold the state of dropout too."""
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
    """Bring the model to where an earlier process left it, and say so;
    a fresh start where none did."""
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
    print(
        f"{model.name}: goes on after epoch {len(numbers['rows'])}, where an earlier run was "
        "stopped"
    )
    return _Progress(
        numbers["rows"], numbers["best_loss"], numbers["best_epoch"], state.arrays["best"] or None
    )


def validate(model: keras.Model, examples: Examples) -> dict[str, float]:
    """Loss and accuracy over all examples, counted and then divided."""
    targets = _targets(model, examples.labels)
    step = inference_batch_rows(examples.inputs.shape[1:])
    batches = (slice(start, start + step) for start in range(0, len(targets), step))
    return _average(
        (
            len(targets[batch]),
            model.test_on_batch(
                read_rows(examples.inputs, batch), targets[batch], return_dict=True
            ),
        )
        for batch in batches
    )


def _average(batches: Iterable[tuple[int, dict[str, float]]]) -> dict[str, float]:
    """Mean over examples of what Keras reports a batch, from (number of examples, report)."""
    sizes, reports = zip(*batches, strict=True)
    return {
        name: float(np.average([report[name] for report in reports], weights=sizes))
        for name in ("loss", "accuracy")
    }


def _targets(model: keras.Model, labels: np.ndarray) -> np.ndarray:
    """Labels as the model's loss takes them:
    float32 (N, 1), or one-hot (N, C) where targets can be soft."""
    if isinstance(model.loss, keras.losses.CategoricalCrossentropy):
        return np.eye(model.output_shape[-1], dtype=np.float32)[labels]
    return labels.reshape(-1, 1).astype(np.float32)
