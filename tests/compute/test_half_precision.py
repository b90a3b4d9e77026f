"""`compute.precision: float16`: gradients are scaled, and everything that trains, resumes, scores
and exports works behind that."""

from collections.abc import Iterator

import keras
import numpy as np
import pytest

from tests.helpers.tiny_pipeline import build_world, call, repro, set_param
from tests.runtime import test_checkpoints
from tests.runtime.test_checkpoints import EPOCHS, OPTIONS, StoppedError, assert_same
from tests.training.test_loop import examples, params
from transfer.classifiers.head import build_head
from transfer.export.end_to_end_model import in_float32
from transfer.runtime.checkpoints import Checkpoint
from transfer.training.loop import compile_classifier, fit
from transfer.training.optimizers import averages_of, unwrap_optimizer


@pytest.fixture(autouse=True)
def float16() -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    yield
    keras.config.set_dtype_policy(before)


def compiled_head(by_layer: bool = False, **changes) -> keras.Model:
    keras.utils.set_random_seed(1)
    head = build_head((1, 1, 6), units=8, dropout=0, normalize=False, n_classes=2)
    compile_classifier(head, params(**changes), by_layer)
    return head


def test_gradients_too_small_for_float16_are_scaled_and_rates_and_averages_reach_the_optimizer():
    data = examples(24)
    inputs = data.inputs * np.float32(2.0**-20)
    head = compiled_head(by_layer=True, ema_momentum=0.9, learning_rate=0.02)
    assert isinstance(head.optimizer, keras.optimizers.LossScaleOptimizer)
    before = head.get_weights()
    chosen = params(ema_momentum=0.9, learning_rate=0.02)
    fit(
        head,
        lambda epoch: inputs,
        data.labels,
        data,
        chosen,
        rates=lambda epoch: np.float32([1, 0, 1, 1]),
    )
    kernel, bias, *_ = head.get_weights()
    # its gradients are below 2**-24, the smallest number of float16
    assert not np.array_equal(kernel, before[0])
    assert np.array_equal(bias, before[1])
    assert float(unwrap_optimizer(head).learning_rate) == pytest.approx(0.02)
    for weight, average in zip(head.get_weights(), averages_of(head), strict=True):
        assert np.array_equal(weight, keras.ops.convert_to_numpy(average))


def test_a_step_that_overflows_is_passed_over_and_the_scale_halved():
    head = compiled_head()
    head.optimizer.build(head.trainable_variables)
    head.optimizer.dynamic_scale.assign(2.0**40)
    before = head.get_weights()
    data = examples(4)
    loss = head.train_on_batch(data.inputs, data.labels[:, None], return_dict=True)["loss"]
    assert np.isfinite(loss)
    assert all(np.array_equal(a, b) for a, b in zip(before, head.get_weights(), strict=True))
    assert float(head.optimizer.dynamic_scale) == 2.0**39


def test_a_resumed_training_ends_bit_for_bit_like_an_uninterrupted_one(tmp_path, monkeypatch):
    monkeypatch.setattr("transfer.runtime.checkpoints._SHARE", 0)
    changes = {"by_layer": True, "checkpoint": "best", **OPTIONS}
    whole = test_checkpoints.train(None, **changes)
    with pytest.raises(StoppedError):
        test_checkpoints.train(Checkpoint(tmp_path), EPOCHS - 2, **changes)
    assert_same(test_checkpoints.train(Checkpoint(tmp_path), **changes), whole)


def test_features_whose_squares_float16_cannot_hold_are_normalized_as_in_float32():
    features = np.random.default_rng(0).random((3, 2, 2, 8), dtype=np.float32) * 5000
    head = build_head((2, 2, 8), units=4, dropout=0, normalize=True, n_classes=3)
    normalized = keras.Model(
        head.input, head.get_layer("unit_mean_square").output
    ).predict_on_batch(features)
    assert normalized.dtype == np.float32
    np.testing.assert_allclose((normalized**2).mean(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_what_is_exported_computes_in_float32(policy):
    keras.config.set_dtype_policy(policy)
    head = build_head((2, 2, 8), units=4, dropout=0, normalize=True, n_classes=3)
    images = keras.Input((2, 2, 8))
    nested = keras.Model(images, head(images))
    keras.config.set_dtype_policy("float32")
    same = in_float32(nested)
    assert head.get_layer("hidden").compute_dtype == policy.removeprefix("mixed_")
    layers = [*same.layers, *same.get_layer("head").layers]
    assert {layer.compute_dtype for layer in layers} == {"float32"}
    assert all(
        np.array_equal(a, b) for a, b in zip(same.get_weights(), nested.get_weights(), strict=True)
    )
    assert in_float32(same) is same


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_the_whole_pipeline_runs(tmp_path, precision):
    """With exports, which are compared with their own runtimes,
    and an optimizer of ours and one of Keras's."""
    build_world(tmp_path)
    changes = {
        "compute.precision": precision,
        "finetune.layer_lr_decay": 0.5,
        "finetune.ema_momentum": 0.9,
        "train_augmented.optimizer": "sgd",
    }
    for key, value in {
        **changes,
        "export.formats": ["saved_model", "onnx", "litert", "litert_int8"],
    }.items():
        set_param(tmp_path, key, value)
    repro(tmp_path)
    labels = call(
        "python",
        "-m",
        "transfer",
        "predict",
        "images",
        "--model",
        "finetuned",
        "--format",
        "jsonl",
        cwd=tmp_path,
    ).stdout
    assert len(labels.splitlines()) == 24
    assert f"mixed_{precision}" in (tmp_path / "models/finetuned/model.json").read_text()
