"""The fused RMSprop gives the bytes of Keras's own."""

import keras
import numpy as np
import pytest

from transfer.compute import rmsprop
from transfer.compute.rmsprop import FusedRMSprop, choose_rmsprop

STEPS = 6
tensorflow_only = pytest.mark.skipif(
    keras.config.backend() != "tensorflow", reason="the kernels are TensorFlow's"
)


def trained(optimizer: keras.optimizers.Optimizer, rates: list[float]) -> list[bytes]:
    """Weights and optimizer variables after a step with each rate.

    Not in a graph, whose optimizer would replace Keras's division by a square root unless the
    process is set up as a stage is.
    """
    rng = np.random.default_rng(0)
    # long enough for two threads, with a length that no vector register divides, and a scalar
    shapes = [(257, 1031), (1,), ()]
    variables = [keras.Variable(rng.standard_normal(shape, np.float32)) for shape in shapes]
    optimizer.build(variables)
    for rate in rates:
        # from the smallest numbers to the largest, and exact zeros
        scale = np.float32(10.0 ** rng.integers(-30, 15))
        gradients = [rng.standard_normal(shape, np.float32) * scale for shape in shapes]
        gradients[0][::7] = 0
        optimizer.learning_rate = rate
        optimizer.apply([keras.ops.convert_to_tensor(gradient) for gradient in gradients])
    values = [*variables, *optimizer.variables]
    return [keras.ops.convert_to_numpy(value).tobytes() for value in values]


@tensorflow_only
def test_it_gives_the_bytes_of_keras_own():
    rates = np.random.default_rng(1).random(STEPS).tolist()
    found, expected = (
        trained(kind(0.1), rates) for kind in (FusedRMSprop, keras.optimizers.RMSprop)
    )
    assert found == expected
    assert found != trained(keras.optimizers.RMSprop(0.1), [0.5] * STEPS)


@tensorflow_only
def test_it_is_chosen_on_a_cpu_alone(monkeypatch):
    monkeypatch.setattr(rmsprop, "has_accelerator", lambda: False)
    assert choose_rmsprop() is FusedRMSprop
    monkeypatch.setattr(rmsprop, "has_accelerator", lambda: True)
    assert choose_rmsprop() is keras.optimizers.RMSprop
