"""The stages under JAX and PyTorch: they run, and compute what they compute under TensorFlow.

JAX and PyTorch are not in requirements.txt, so `make test-backends` runs this, in an environment
that has them.
"""

import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.helpers.tiny_pipeline import STAGES, build_world, call, set_param

pytestmark = pytest.mark.slow
ACTIVATIONS = [
    "features/train/features",
    "features/train/cut",
    "features/test/features",
    "features/test/cut",
    "views/features",
    "views/cut",
]
BACKENDS = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(
            importlib.util.find_spec(name) is None, reason=f"needs {name}: make test-backends"
        ),
    )
    for name in ("jax", "torch")
]


def run_stages(project: Path, backend: str, names: list[str]) -> None:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("KERAS_BACKEND", backend)
        for name in names:
            call("python", "-m", *f"stages.{name}".split("@"), cwd=project)


@pytest.fixture(scope="module")
def reference(tmp_path_factory) -> Path:
    """The tiny world, run through under TensorFlow."""
    project = tmp_path_factory.mktemp("backends") / "tensorflow"
    build_world(project)
    run_stages(project, "tensorflow", STAGES)
    return project


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_stage_runs_and_computes_what_it_does_under_tensorflow(backend, reference, tmp_path):
    project = tmp_path / backend
    build_world(project)
    run_stages(project, backend, STAGES[: STAGES.index("extract")])
    # Each backend draws random numbers of its own: the comparison starts from one file of weights,
    # and from one head.
    shutil.copytree(reference / "data/weights", project / "data/weights", dirs_exist_ok=True)
    run_stages(project, backend, STAGES[STAGES.index("extract") : STAGES.index("finetune")])
    for name in ACTIVATIONS:
        assert_close(np.load(project / f"data/{name}.npy"), np.load(reference / f"data/{name}.npy"))
    shutil.rmtree(project / "models/augmented")
    shutil.copytree(reference / "models/augmented", project / "models/augmented")
    run_stages(project, backend, STAGES[STAGES.index("finetune") :])
    for backends_own, expected in zip(
        *(predictions(folder, "finetuned") for folder in (project, reference)), strict=True
    ):
        assert_close(backends_own, expected)


def predictions(project: Path, name: str) -> np.ndarray:
    return pd.read_csv(project / f"data/evaluation/{name}/predictions.csv")[
        "probability"
    ].to_numpy()


def assert_close(computed: np.ndarray, expected: np.ndarray) -> None:
    """Within 1e-4 of the largest number that is expected."""
    np.testing.assert_allclose(computed, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="needs jax: make test-backends")
def test_a_training_step_over_two_devices_is_that_of_one(tmp_path, monkeypatch):
    """Two devices made of one CPU; batches of 5 and 2, of which one does not divide evenly."""
    alone, divided = tmp_path / "alone", tmp_path / "divided"
    build_world(alone)
    set_param(alone, "train_augmented.batch_size", 5)
    set_param(alone, "finetune.batch_size", 5)
    run_stages(alone, "jax", STAGES[: STAGES.index("train_scratch")])
    shutil.copytree(alone, divided)
    run_stages(alone, "jax", ["train_augmented", "finetune"])
    set_param(divided, "compute.gpus", 2)
    assert "compute.gpus = 2: jax sees 1" in refused(divided)
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=2")
    run_stages(divided, "jax", ["train_augmented", "finetune"])
    for name in ("augmented", "finetuned"):
        histories = [
            pd.read_csv(project / f"models/{name}/history.csv").to_numpy()
            for project in (alone, divided)
        ]
        np.testing.assert_allclose(*histories, rtol=1e-4, atol=1e-5)


def refused(project: Path) -> str:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("KERAS_BACKEND", "jax")
        finished = call("python", "-m", "stages.train_augmented", cwd=project, check=False)
    assert finished.returncode == 1
    return finished.stderr
