"""Many training steps in one call give the bytes of one call per step."""

import keras
import numpy as np
import pytest

from tests.training.test_loop import params
from transfer.classifiers.head import build_head
from transfer.classifiers.scratch import build_small_network
from transfer.compute import training_steps
from transfer.compute.training_steps import build_training_steps, choose_jit_compile
from transfer.training.loop import compile_classifier

STEPS, BATCH = 5, 4


def build(kind: str, n_classes: int = 2, by_layer: bool = False, **changes) -> keras.Model:
    keras.utils.set_random_seed(1)
    if kind == "head":
        model = build_head((1, 1, 6), units=8, dropout=0.5, normalize=True, n_classes=n_classes)
    else:
        model = build_small_network(32, units=8, dropout=0.5, n_classes=n_classes)
    compile_classifier(model, params(**changes), by_layer)
    model.optimizer.build(model.trainable_variables)
    return model


def batches(model: keras.Model, steps: int = STEPS, size: int = BATCH) -> list[np.ndarray]:
    """Inputs, targets, sample weights and learning rates of so many steps."""
    rng = np.random.default_rng(0)
    return [
        rng.random((steps, size, *model.input_shape[1:]), dtype=np.float32) * 255,
        rng.integers(0, 2, (steps, size, 1)).astype(np.float32),
        rng.random((steps, size), dtype=np.float32) + np.float32(0.5),
        rng.random(steps, dtype=np.float32) * np.float32(0.01),
    ]


def state(model: keras.Model) -> list[bytes]:
    """All variables, those of dropout and the optimizer included."""
    variables = model.variables + model.optimizer.variables
    return [keras.ops.convert_to_numpy(variable).tobytes() for variable in variables]


@pytest.mark.parametrize(
    ("kind", "n_classes", "changes"),
    [
        ("head", 2, {}),
        ("head", 3, {"optimizer": "sgd"}),
        ("head", 2, {"by_layer": True, "ema_momentum": 0.9, "l2": 0.01, "optimizer": "adam"}),
        ("scratch", 2, {}),
    ],
)
def test_one_call_gives_the_bytes_of_a_call_per_step(kind, n_classes, changes):
    together, apart = (build(kind, n_classes, **changes) for _ in range(2))
    arrays = batches(together)
    reports = build_training_steps(together)(*arrays)
    expected = []
    for *batch, rate in zip(*arrays, strict=True):
        inputs, targets, weights = batch
        apart.optimizer.learning_rate = float(rate)
        expected.append(
            apart.train_on_batch(inputs, targets, sample_weight=weights, return_dict=True)
        )
    assert_same(together, apart)
    for name in ("loss", "accuracy"):
        assert reports[name].dtype == np.float32 and reports[name].shape == (STEPS,)
        same_numbers(reports[name], np.array([report[name] for report in expected], np.float32))
    assert np.ptp(reports["loss"]) > 0


def assert_same(one: keras.Model, other: keras.Model) -> None:
    """All variables, as `state` has them."""
    pairs = zip(
        one.variables + one.optimizer.variables,
        other.variables + other.optimizer.variables,
        strict=True,
    )
    for pair in pairs:
        same_numbers(*map(keras.ops.convert_to_numpy, pair))


def same_numbers(found: np.ndarray, expected: np.ndarray) -> None:
    """The same bytes; with JAX close ones, since XLA compiles a loop and a single step apart."""
    if keras.config.backend() == "jax":
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    else:
        assert found.tobytes() == expected.tobytes()


@pytest.mark.skipif(keras.config.backend() != "jax", reason="needs jax: make test-backends")
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["head", "scratch"])
def test_with_jax_one_call_gives_the_bytes_of_a_call_of_the_loop_per_step(kind):
    together, apart = build(kind), build(kind)
    arrays = batches(together)
    reports = build_training_steps(together)(*arrays)
    steps = build_training_steps(apart)
    each = [steps(*(array[step : step + 1] for array in arrays)) for step in range(STEPS)]
    assert state(together) == state(apart)
    for name in ("loss", "accuracy"):
        assert reports[name].tolist() == [float(report[name][0]) for report in each]


def test_it_does_not_matter_how_steps_are_divided_into_calls():
    """A resumed training, or one with other limits of memory, divides them differently."""
    assert_that_calls_may_be_divided(build("head"), build("head"))


def assert_that_calls_may_be_divided(once: keras.Model, divided: keras.Model) -> None:
    """Train two equal models, one of them in several calls."""
    arrays = batches(once)
    build_training_steps(once)(*arrays)
    steps = build_training_steps(divided)
    for part in (slice(0, 1), slice(1, 4), slice(4, 5)):
        steps(*(array[part] for array in arrays))
    assert state(once) == state(divided)


@pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="needs tensorflow")
def test_tensorflow_does_not_trace_a_batch_of_another_size_again():
    model = build("head")
    traced, train_step = [], model.train_step
    model.train_step = lambda data: traced.append(data) or train_step(data)
    steps = build_training_steps(model)
    steps(*batches(model))
    assert traced
    before = len(traced)
    steps(*batches(model, steps=1, size=2))
    assert len(traced) == before


@pytest.mark.skipif(keras.config.backend() != "jax", reason="needs jax: make test-backends")
@pytest.mark.slow
def test_with_jax_losses_are_scaled_and_calls_of_any_length_give_the_same_bytes():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        once, divided = (build("head", optimizer="adam") for _ in range(2))
    finally:
        keras.config.set_dtype_policy("float32")
    assert isinstance(once.optimizer, keras.optimizers.LossScaleOptimizer)
    assert_that_calls_may_be_divided(once, divided)


@pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="compares both ways to train")
def test_other_backends_compute_the_same_step_by_step(monkeypatch):
    compiled, generic = build("head"), build("head")
    arrays = batches(compiled)
    reports = build_training_steps(compiled)(*arrays)
    monkeypatch.setattr(keras.config, "backend", lambda: "another")
    found = build_training_steps(generic)(*arrays)
    assert state(compiled) == state(generic)
    assert {name: values.tolist() for name, values in reports.items()} == {
        name: values.tolist() for name, values in found.items()
    }


@pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="other backends need XLA")
def test_nothing_is_compiled_by_xla_without_a_gpu_in_use(monkeypatch):
    """XLA's kernels follow the processor; Keras would use it on a CPU if a hidden GPU is there."""
    for in_use, expected in ((False, False), (True, "auto")):
        monkeypatch.setattr(training_steps, "has_accelerator", lambda in_use=in_use: in_use)
        assert choose_jit_compile() == expected
    assert build("head").jit_compile is False
