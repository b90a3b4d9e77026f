"""Device, precision and what the backends are told;
that all backends compute the same is test_backends.py."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.helpers.tiny_pipeline import ROOT, call
from tests.helpers.tiny_sources import write_params
from transfer.classifiers.head import build_head
from transfer.compute.data_parallel import enable_data_parallel
from transfer.compute.device import ComputeParams
from transfer.runtime.errors import PipelineError
from transfer.runtime.params import load_params


@pytest.fixture
def bfloat16():
    """The policy that `compute.precision: bfloat16` sets, for one test."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield
    keras.config.set_dtype_policy(before)


@pytest.mark.parametrize(
    ("key", "value", "choices"),
    [
        ("device", "tpu", "'auto', 'cpu' or 'gpu'"),
        ("precision", "float8", "'float32', 'bfloat16' or 'float16'"),
    ],
)
def test_an_unknown_choice_is_refused_with_the_list_of_choices(project, key, value, choices):
    write_params(project, compute={key: value})
    with pytest.raises(PipelineError, match=f"compute.{key} = '{value}': .*{choices}"):
        load_params(ComputeParams, "compute")


def test_a_gpu_that_is_not_there_ends_in_a_sentence(project, monkeypatch):
    """In a process of its own: a backend is set up once, before its first operation."""
    write_params(project, compute={"device": "gpu"})
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    finished = call("python", "-m", "stages.extract", cwd=project, check=False)
    assert finished.returncode == 1
    assert (
        f"extract: compute.device = 'gpu': {keras.config.backend()} sees no GPU; set auto or cpu"
        in finished.stderr
    )
    assert "Traceback" not in finished.stderr


@pytest.mark.skipif(keras.config.backend() == "jax", reason="there it is done: test_backends.py")
def test_steps_are_divided_over_gpus_with_jax_alone():
    with pytest.raises(
        PipelineError,
        match=r"compute\.gpus = 2: Keras divides training steps with JAX only, this is \w+; set 1",
    ):
        enable_data_parallel(2)


def test_a_backend_that_keras_cannot_load_ends_in_a_sentence(project, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "abacus")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    finished = call("python", "-m", "stages.train_head", cwd=project, check=False)
    assert finished.returncode == 1
    assert "KERAS_BACKEND=abacus: Keras cannot load it" in finished.stderr
    assert "choose tensorflow, or jax or torch" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_bfloat16_leaves_weights_and_logits_float32(bfloat16):
    head = build_head((2, 2, 8), units=4, dropout=0, normalize=True, n_classes=3)
    assert head.get_layer("hidden").compute_dtype == "bfloat16"
    assert {weight.dtype for weight in head.weights} == {"float32"}
    logits = head.predict_on_batch(np.ones((2, 2, 2, 8), dtype=np.float32))
    assert logits.dtype == np.float32


COMPILE = """
import sys
from pathlib import Path
import transfer.compute.device as device
device.COMPILED_BYTES, device.WORTH_KEEPING = int(sys.argv[1]), 0
device.keep_compiled_code(Path("kept"))
import jax
jax.jit(lambda x: x @ x + int(sys.argv[2]))(jax.numpy.ones((8, 8))).block_until_ready()
"""


def compiled_files(project: Path, at_most: int, number: int) -> dict[str, int]:
    """Bytes of each file of compiled code after a process has compiled a function of its own."""
    command = [sys.executable, "-c", COMPILE, str(at_most), str(number)]
    subprocess.run(command, check=True)
    return {file.name: file.stat().st_size for file in (project / "kept").glob("*-cache")}


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="needs jax: make test-backends")
def test_jax_keeps_what_it_compiled_within_a_limit(project, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    plenty = 10**9
    first = compiled_files(project, plenty, 1)
    assert first
    assert compiled_files(project, plenty, 1) == first, "the second process takes what is there"
    both = compiled_files(project, plenty, 2)
    assert first.items() < both.items()
    limit = sum(both.values())
    after = compiled_files(project, limit, 3)
    assert sum(after.values()) <= limit
    assert both.keys() - after.keys() and after.keys() - both.keys()
