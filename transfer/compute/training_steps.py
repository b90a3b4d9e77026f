"""Runs many training steps in one call, so that a small model does not wait for Python between
them."""

from collections.abc import Callable
from functools import cache

import numpy as np

from transfer.compute.device import has_accelerator
from transfer.compute.keras import keras

# From (K, b, ...) inputs, (K, b, T) targets, (K, b) sample weights and (K,) learning rates, all
# float32, to the loss and accuracy of each of the K steps, float32 (K,).
TrainingSteps = Callable[..., dict[str, np.ndarray]]
REPORTED = ("loss", "accuracy")


def build_training_steps(model: keras.Model) -> TrainingSteps:
    """A function that trains a compiled model on one batch after the other.

    The model must have a metric named `accuracy`. K steps in one call give the same bytes, in the
    model, the optimizer and the reports, as K calls with one step each. TensorFlow runs them in
    one compiled loop, which is traced once per batch shape; other backends run step by step.
    """
    if keras.config.backend() == "tensorflow":
        return _compiled_loop(model)
    return lambda *arrays: _step_by_step(model, *arrays)


def choose_jit_compile() -> bool | str:
    """Keras's argument `jit_compile`: off for TensorFlow on CPUs, otherwise Keras decides.

    Keras looks at all devices of the machine, also those that `compute.device: cpu` hides; XLA
    would then compute on the CPU, with kernels that follow the processor.
    """
    return False if keras.config.backend() == "tensorflow" and not has_accelerator() else "auto"


def _compiled_loop(model: keras.Model) -> TrainingSteps:
    import tensorflow as tf

    rate = model.optimizer.learning_rate
    train_step = tf.function(model.train_step, autograph=False, jit_compile=model.jit_compile)

    def loop(inputs, targets, weights, rates):
        count = tf.shape(rates)[0]

        def body(step, reports):
            model.reset_metrics()
            rate.assign(rates[step])
            report = train_step((inputs[step], targets[step], weights[step]))
            written = [
                array.write(step, report[name])
                for array, name in zip(reports, REPORTED, strict=True)
            ]
            return step + 1, written

        empty = [tf.TensorArray(tf.float32, size=count) for _ in REPORTED]
        _, reports = tf.while_loop(
            lambda step, reports: step < count, body, (0, empty), parallel_iterations=1
        )
        return [array.stack() for array in reports]

    @cache
    def trace(*shapes: tuple[int, ...]):
        # The first trace creates the metrics' variables, which a loop cannot do.
        train_step.get_concrete_function(
            tuple(tf.TensorSpec(shape[1:], tf.float32) for shape in shapes[:-1])
        )
        return tf.function(loop, autograph=False).get_concrete_function(
            *(tf.TensorSpec(shape, tf.float32) for shape in shapes)
        )

    def run(*arrays: np.ndarray) -> dict[str, np.ndarray]:
        function = trace(*((None, *array.shape[1:]) for array in arrays))
        reports = function(*map(tf.convert_to_tensor, arrays))
        return {name: report.numpy() for name, report in zip(REPORTED, reports, strict=True)}

    return run


def _step_by_step(
    model: keras.Model,
    inputs: np.ndarray,
    targets: np.ndarray,
    weights: np.ndarray,
    rates: np.ndarray,
) -> dict[str, np.ndarray]:
    reports = []
    for batch, target, weight, rate in zip(inputs, targets, weights, rates, strict=True):
        model.optimizer.learning_rate = float(rate)
        reports.append(model.train_on_batch(batch, target, sample_weight=weight, return_dict=True))
    return {
        name: np.array([report[name] for report in reports], dtype=np.float32) for name in REPORTED
    }
