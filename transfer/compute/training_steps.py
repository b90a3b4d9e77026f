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
# Limits of one call with JAX: this number of steps, and these bytes of inputs. A call has
# always the same number of batches; missing ones are empty and not trained on.
JAX_STEPS, JAX_BYTES = 64, 2**23


def build_training_steps(model: keras.Model) -> TrainingSteps:
    """A function that trains a compiled model on one batch after the other.

    The model must have a metric named `accuracy`. K steps in one call give the same bytes, in the
    model, the optimizer and the reports, as K calls with one step each. TensorFlow and JAX run them
    in one compiled loop, which TensorFlow traces once, JAX once per size of a batch; PyTorch, and
    JAX with a batch that is divided over cards, run step by step.
    """
    backend = keras.config.backend()
    if backend == "tensorflow":
        return _tensorflow_loop(model)
    if backend == "jax" and model.jit_compile and keras.distribution.distribution() is None:
        return _jax_loop(model)
    return lambda *arrays: _step_by_step(model, *arrays)


def choose_jit_compile() -> bool | str:
    """Keras's argument `jit_compile`: off for TensorFlow on CPUs, otherwise Keras decides.

    Keras looks at all devices of the machine, also those that `compute.device: cpu` hides; XLA
    would then compute on the CPU, with kernels that follow the processor.
    """
    return False if keras.config.backend() == "tensorflow" and not has_accelerator() else "auto"


def _tensorflow_loop(model: keras.Model) -> TrainingSteps:
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
        # of any number of steps, with batches of any size: an epoch's last one is smaller
        function = trace(*((None,) * min(2, array.ndim) + array.shape[2:] for array in arrays))
        reports = function(*map(tf.convert_to_tensor, arrays))
        return {name: report.numpy() for name, report in zip(REPORTED, reports, strict=True)}

    return run


def _jax_loop(model: keras.Model) -> TrainingSteps:
    """One program per batch shape, whose number of steps is an argument: XLA may unroll a loop with
    a fixed number of steps, and loops of different numbers would then round differently."""
    import jax

    optimizer, rate = model.optimizer, model.optimizer.learning_rate
    (rate_place,) = (
        place for place, variable in enumerate(optimizer.variables) if variable is rate
    )
    parts = (
        model.trainable_variables,
        model.non_trainable_variables,
        optimizer.variables,
    )

    def loop(state, cleared, count, *arrays):
        *batches, rates = arrays

        def body(step, carried):
            (trainable, others, optimizing), reports = carried
            optimizing = [*optimizing]
            optimizing[rate_place] = rates[step]
            report, (*state, _) = model.train_step(
                (trainable, others, optimizing, cleared), tuple(array[step] for array in batches)
            )
            written = [
                array.at[step].set(report[name])
                for array, name in zip(reports, REPORTED, strict=True)
            ]
            return [[*part] for part in state], written

        empty = [jax.numpy.zeros(rates.shape, "float32") for _ in REPORTED]
        return jax.lax.fori_loop(0, count, body, (state, empty))

    compiled = jax.jit(loop, donate_argnums=0)

    def run(*arrays: np.ndarray) -> dict[str, np.ndarray]:
        # as Keras's own steps do: the metrics have no variables before
        model._symbolic_build(data_batch=tuple(array[0] for array in arrays[:-1]))
        most = max(1, min(JAX_STEPS, JAX_BYTES // arrays[0][0].nbytes))
        found = [
            run_some(most, *(array[start : start + most] for array in arrays))
            for start in range(0, len(arrays[0]), most)
        ]
        return {name: np.concatenate([reports[name] for reports in found]) for name in REPORTED}

    def run_some(most: int, *arrays: np.ndarray) -> dict[str, np.ndarray]:
        count = len(arrays[0])
        empty = [np.zeros((most - count, *array.shape[1:]), array.dtype) for array in arrays]
        filled = [np.concatenate(both) for both in zip(arrays, empty, strict=True)]
        model.reset_metrics()
        state, reports = compiled(
            [[variable.value for variable in part] for part in parts],
            [variable.value for variable in model.metrics_variables],
            count,
            *filled,
        )
        for part, values in zip(parts, state, strict=True):
            for variable, value in zip(part, values, strict=True):
                variable.assign(value)
        return {
            name: np.asarray(report)[:count] for name, report in zip(REPORTED, reports, strict=True)
        }

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
