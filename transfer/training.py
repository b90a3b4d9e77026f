"""Training from cached arrays: every step a pure function of (seed, epoch, step)."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt
from tqdm import tqdm

from transfer.arrays import take
from transfer.checkpoints import Checkpoint, State
from transfer.errors import PipelineError
from transfer.examples import Examples
from transfer.lean import keras
from transfer.params import Params

SHOW_EVERY = 1.0  # seconds: epochs may take a hundredth of one
VALIDATION_BATCH = 256  # fixed, since another number would change the last bits of the validation loss


class TrainingParams(Params):
    epochs: PositiveInt
    batch_size: PositiveInt
    learning_rate: PositiveFloat
    patience: PositiveInt | None
    keep: Literal["best", "last"]
    class_weight: Literal["balanced"] | None
    seed: NonNegativeInt


class HeadTrainingParams(TrainingParams):
    units: PositiveInt
    dropout: float = Field(ge=0, lt=1)
    normalize: bool


@dataclass(frozen=True)
class Fitted:
    """history: a row an epoch, with epoch, loss, accuracy, val_loss, val_accuracy. epoch: whose weights the model has."""

    history: pd.DataFrame
    epoch: int


def compile_classifier(model: keras.Model, learning_rate: float) -> None:
    """Compile for training from logits (B, L): binary cross-entropy for one logit, categorical for more; RMSprop."""
    if model.output_shape[-1] == 1:
        loss, accuracy = keras.losses.BinaryCrossentropy(from_logits=True), keras.metrics.BinaryAccuracy(threshold=0.0)
    else:
        loss, accuracy = keras.losses.SparseCategoricalCrossentropy(from_logits=True), keras.metrics.SparseCategoricalAccuracy()
    accuracy.name = "accuracy"
    model.compile(optimizer=keras.optimizers.RMSprop(learning_rate), loss=loss, weighted_metrics=[], metrics=[accuracy])


@dataclass
class _Progress:
    """What changes from epoch to epoch beside the model: losses, and which epoch's weights are to be kept."""

    rows: list[dict] = field(default_factory=list)
    best_loss: float = np.inf
    best_epoch: int = 0
    best_weights: list[np.ndarray] | None = None


def fit(
    model: keras.Model,
    inputs_of: Callable[[int], np.ndarray],
    labels: np.ndarray,
    validation: Examples,
    params: TrainingParams,
    checkpoint: Checkpoint | None = None,
    show: Callable[[pd.DataFrame], None] | None = None,
) -> Fitted:
    """Train a compiled classifier in place and leave it with the weights to keep.

    Args:
        inputs_of: the training inputs (N, ...) of an epoch, counted from 0; views change by epoch.
        labels: int (N,).
        validation: what early stopping and `keep: best` look at (the validation loss).
        checkpoint: of an earlier process that was stopped in between; training goes on from there to the same end, bit for bit.
        show: gets the history so far about once a second, for whoever watches.

    Raises:
        PipelineError: the loss is no longer finite.
    """
    targets = _targets(labels)
    weights = sample_weights(labels, params.class_weight)
    progress = _resume(model, checkpoint)
    shown = 0.0
    epochs = range(len(progress.rows), params.epochs)
    with tqdm(epochs, desc=f"{model.name}: epochs", unit="epoch", initial=len(progress.rows), total=params.epochs) as bar:
        for epoch in bar:
            if params.patience is not None and epoch - 1 - progress.best_epoch >= params.patience:
                break
            inputs = inputs_of(epoch)
            batches = epoch_batches(len(labels), params.batch_size, params.seed, epoch)
            trained = _average(
                (len(batch), model.train_on_batch(_inputs(inputs, batch), targets[batch], sample_weight=weights[batch], return_dict=True))
                for batch in batches
            )
            check = validate(model, validation)
            progress.rows.append({"epoch": epoch + 1, **trained, **{f"val_{name}": value for name, value in check.items()}})
            bar.set_postfix_str(f"loss {trained['loss']:.3f}, validation loss {check['loss']:.3f}, accuracy {check['accuracy']:.3f}")
            if not np.isfinite([trained["loss"], check["loss"]]).all():
                raise PipelineError(f"the loss is not finite in epoch {epoch + 1}; lower learning_rate = {params.learning_rate:g}")
            if check["loss"] < progress.best_loss:
                progress.best_loss, progress.best_epoch = check["loss"], epoch
                progress.best_weights = model.get_weights() if params.keep == "best" else None
            if checkpoint is not None and checkpoint.is_due():
                checkpoint.save(_state(model, progress))
            if show is not None and time.monotonic() - shown >= SHOW_EVERY:
                shown = time.monotonic()
                show(pd.DataFrame(progress.rows))
    if progress.best_weights is not None:
        model.set_weights(progress.best_weights)
    return Fitted(pd.DataFrame(progress.rows), progress.best_epoch + 1 if params.keep == "best" else len(progress.rows))


def _state(model: keras.Model, progress: _Progress) -> State:
    """All that the next epoch depends on; the model's variables hold the state of dropout too."""
    arrays = {
        "model": [keras.ops.convert_to_numpy(variable) for variable in model.variables],
        "optimizer": [keras.ops.convert_to_numpy(variable) for variable in model.optimizer.variables],
        "best": progress.best_weights or [],
    }
    return State({"rows": progress.rows, "best_loss": progress.best_loss, "best_epoch": progress.best_epoch}, arrays)


def _resume(model: keras.Model, checkpoint: Checkpoint | None) -> _Progress:
    """Bring the model to where an earlier process left it, and say so; a fresh start where none did."""
    state = checkpoint.load() if checkpoint is not None else None
    if state is None:
        return _Progress()
    model.optimizer.build(model.trainable_variables)
    for variable, array in zip(model.variables + model.optimizer.variables, state.arrays["model"] + state.arrays["optimizer"], strict=True):
        variable.assign(array)
    numbers = state.numbers
    print(f"{model.name}: goes on after epoch {len(numbers['rows'])}, where an earlier run was stopped")
    return _Progress(numbers["rows"], numbers["best_loss"], numbers["best_epoch"], state.arrays["best"] or None)


def sample_weights(labels: np.ndarray, class_weight: str | None) -> np.ndarray:
    """How much each example counts, float32 (N,): all the same, or `balanced` by scikit-learn's definition."""
    if class_weight is None:
        return np.ones(len(labels), dtype=np.float32)
    from sklearn.utils.class_weight import compute_sample_weight  # a second to import, so only for who wants it

    return compute_sample_weight(class_weight, labels).astype(np.float32)


def epoch_batches(n: int, batch_size: int, seed: int, epoch: int) -> Iterator[np.ndarray]:
    """The rows of each step of an epoch: a shuffle of 0..n-1 drawn from (seed, epoch), the last batch maybe smaller."""
    order = np.random.default_rng([seed, epoch]).permutation(n)
    for start in range(0, n, batch_size):
        yield order[start : start + batch_size]


def validate(model: keras.Model, examples: Examples) -> dict[str, float]:
    """Loss and accuracy over all examples, counted and then divided."""
    targets = _targets(examples.labels)
    batches = (slice(start, start + VALIDATION_BATCH) for start in range(0, len(targets), VALIDATION_BATCH))
    return _average(
        (len(targets[batch]), model.test_on_batch(_inputs(examples.inputs, batch), targets[batch], return_dict=True)) for batch in batches
    )


def _average(batches: Iterable[tuple[int, dict[str, float]]]) -> dict[str, float]:
    """Mean over examples of what Keras reports a batch, from (number of examples, report)."""
    sizes, reports = zip(*batches, strict=True)
    return {name: float(np.average([report[name] for report in reports], weights=sizes)) for name in ("loss", "accuracy")}


def _inputs(array: np.ndarray, rows: np.ndarray | slice) -> np.ndarray:
    """Rows as the models take them, whatever they are stored as: float32 (b, ...)."""
    return take(array, rows).astype(np.float32, copy=False)


def _targets(labels: np.ndarray) -> np.ndarray:
    """Labels as both losses take them: float32 (N, 1)."""
    return labels.reshape(-1, 1).astype(np.float32)
