"""No byte follows the processor: variables are set before the libraries load, and what is computed
under other kernels is the same."""

import ast
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from threadpoolctl import threadpool_info

from tests.helpers.tiny_sources import TRAINING
from transfer.runtime import instructions
from transfer.runtime.instructions import VARIABLES, allow_all_instructions, hold_to_avx2

ROOT = Path(__file__).parents[2]
LIBRARIES = {"numpy", "scipy", "sklearn", "pandas", "tensorflow", "keras", "jax", "torch"}
FLAGS = {*instructions.processor_information("flags").split()}
HAS_AVX2 = platform.machine() in instructions.X86_64 and {"avx2", "fma"} <= FLAGS


def run(code: str, *words: str, **variables: str) -> str:
    """What a new process prints that has these variables and none else of VARIABLES."""
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    finished = subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=ROOT,
        env=environment | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    return finished.stdout


@pytest.fixture
def unset(monkeypatch) -> pytest.MonkeyPatch:
    for name in VARIABLES:
        monkeypatch.setenv(name, "")  # so that it is put back as it was, also where it was not set
        monkeypatch.delenv(name)
    return monkeypatch


def variables_set() -> dict[str, str]:
    return {name: os.environ[name] for name in VARIABLES if name in os.environ}


@pytest.fixture
def haswell(unset) -> pytest.MonkeyPatch:
    unset.setattr(platform, "machine", lambda: "x86_64")
    unset.setattr(instructions, "processor_information", {"flags": "avx2 fma"}.get)
    return unset


def test_a_processor_with_avx2_is_held_to_it(haswell):
    hold_to_avx2()
    assert variables_set() == {
        "TF_ENABLE_ONEDNN_OPTS": "1",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "OPENBLAS_CORETYPE": "Haswell",
        "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
    }


def test_what_the_user_has_set_stays(haswell):
    own = {
        "TF_ENABLE_ONEDNN_OPTS": "0",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "OPENBLAS_CORETYPE": "Zen",
        "NPY_ENABLE_CPU_FEATURES": "X86_V3",
    }
    for name, value in own.items():
        haswell.setenv(name, value)
    hold_to_avx2()
    assert variables_set() == own


def test_a_processor_without_avx2_gets_no_kernels_that_need_it(haswell):
    haswell.setattr(instructions, "processor_information", {"flags": "sse4_2 avx"}.get)
    hold_to_avx2()
    assert variables_set() == {"TF_ENABLE_ONEDNN_OPTS": "1"}


def test_another_kind_of_processor_is_left_alone(haswell):
    haswell.setattr(platform, "machine", lambda: "aarch64")
    hold_to_avx2()
    assert variables_set() == {}


@pytest.mark.parametrize(("before", "after"), [("AVX2", None), ("SSE41", "SSE41"), (None, None)])
def test_all_instructions_are_allowed_unless_the_user_has_set_a_limit(unset, before, after):
    if before:
        unset.setenv("ONEDNN_MAX_CPU_ISA", before)
    allow_all_instructions()
    assert os.environ.get("ONEDNN_MAX_CPU_ISA") == after


def test_the_names_are_those_of_the_installed_numpy():
    """NumPy passes over a name that it does not know;
    a new one would go on following the processor."""
    from numpy._core._multiarray_umath import __cpu_dispatch__

    beyond = set(__cpu_dispatch__) - {"X86_V3"}
    assert not HAS_AVX2 or beyond == set(instructions._ON_AVX2["NPY_DISABLE_CPU_FEATURES"].split())


FIRST_IMPORT = """
import importlib, json, os, sys

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name in LIBRARIES:
            print(json.dumps({name: os.environ.get(name) for name in VARIABLES}))
            sys.stdout.flush()
            os._exit(0)

sys.meta_path.insert(0, Watch())
importlib.import_module(sys.argv[1])
"""


@pytest.mark.parametrize(
    "module",
    [
        "stages.split",
        "stages.train_head",
        "stages.audit",
        "benchmarks.lesson",
        "benchmarks.audit",
        "transfer.compute.keras",
        "transfer.storage.arrays",
    ],
)
def test_the_variables_are_set_when_the_first_library_is_imported(module):
    set_here = ("TF_ENABLE_ONEDNN_OPTS", *instructions._ON_AVX2)
    found = run(f"LIBRARIES, VARIABLES = {LIBRARIES!r}, {set_here!r}\n{FIRST_IMPORT}", module)
    expected = dict.fromkeys(set_here)
    if platform.machine() in ("x86_64", "AMD64"):
        expected["TF_ENABLE_ONEDNN_OPTS"] = "1"
    if HAS_AVX2:
        expected |= instructions._ON_AVX2
    assert json.loads(found) == expected


def imports(file: Path) -> list[str]:
    """The packages that a file imports anywhere, in its order."""
    names = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            names.append(node.module)
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    return [name.split(".")[0] for name in names]


def test_every_program_comes_through_the_one_place():
    """Python runs a package's __init__ before its modules, so what is in a package whose __init__
    begins so cannot come too late."""
    assert {*imports(ROOT / "transfer/__init__.py")} == {"transfer"}
    for first in ("instructions", "privacy", "startup_messages"):
        assert not LIBRARIES & {*imports(ROOT / f"transfer/runtime/{first}.py")}
    for package in ("stages", "benchmarks"):
        assert "transfer" in imports(ROOT / package / "__init__.py")
        assert not LIBRARIES & {*imports(ROOT / package / "__init__.py")}
    elsewhere = [file for file in ROOT.glob("*.py") if LIBRARIES & {*imports(file)}]
    assert not elsewhere
    assert imports(ROOT / "tests/conftest.py")[:2] == ["os", "transfer"]


def test_the_tests_compute_with_these_kernels():
    from numpy._core._multiarray_umath import __cpu_features__

    if HAS_AVX2 and os.environ["OPENBLAS_CORETYPE"] == "Haswell":
        assert {
            library["architecture"]
            for library in threadpool_info()
            if library["internal_api"] == "openblas"
        } == {"Haswell"}
    if (
        HAS_AVX2
        and os.environ.get("NPY_DISABLE_CPU_FEATURES")
        == instructions._ON_AVX2["NPY_DISABLE_CPU_FEATURES"]
    ):
        assert not __cpu_features__["X86_V4"]


VIEWS = """
import hashlib
import numpy as np
from transfer.augmentation.warp import WarpRanges, render_view, draw_warp, warp_matrix

ranges = WarpRanges(
    rotation=40,
    width_shift=0.2,
    height_shift=0.2,
    shear=11.5,
    zoom=0.2,
    horizontal_flip=True,
    seed=7,
)
images = np.random.default_rng(0).integers(0, 256, (100, 24, 24, 3), dtype=np.uint8)
matrices = b"".join(warp_matrix(draw_warp(image, 0, ranges), 24, 24).tobytes() for image in images)
views = b"".join(render_view(image, 0, ranges).tobytes() for image in images)
print(hashlib.sha256(matrices).hexdigest(), hashlib.sha256(views).hexdigest())
"""
KERNELS = [
    {
        "OPENBLAS_CORETYPE": "Nehalem",
        "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR",
    },
    {"OPENBLAS_CORETYPE": "Nehalem", "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR"},
    *(
        [{"OPENBLAS_CORETYPE": "SkylakeX", "NPY_DISABLE_CPU_FEATURES": ""}]
        if "avx512bw" in FLAGS
        else []
    ),
]


@pytest.fixture(scope="module")
def views() -> str:
    return run(VIEWS)


@pytest.mark.parametrize("kernels", KERNELS, ids=lambda kernels: "-".join(kernels.values()))
def test_warps_and_views_are_the_same_under_other_kernels(kernels, views):
    assert run(VIEWS, **kernels) == views


COMPUTED = """
import hashlib
import numpy as np
from transfer.compute.device import ComputeParams, configure_backend

configure_backend(ComputeParams(threads=2, device="cpu", precision="float32"), seed=0, threads=2)
import tensorflow as tf
from transfer.classifiers.head import build_head
from transfer.compute.keras import keras
from transfer.compute.training_steps import build_training_steps
from transfer.training.optimizers import OptimizerParams, build_optimizer
from transfer.classifiers.scratch import build_small_network
from transfer.compute.losses import binary_crossentropy
from transfer.training.loop import TrainingParams, compile_classifier

rng = np.random.default_rng(0)
steps = rng.uniform(1e-3, 1, (1, 4096)).astype(np.float32)

# RMSprop divides by a square root: the same bytes as NumPy, whose both are exact.
layer = keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")
model = keras.Sequential([keras.Input((4096,)), layer])
kinds = OptimizerParams(
    optimizer="rmsprop", learning_rate=0.01, weight_decay=0, l2=0, ema_momentum=None
)
model.compile(build_optimizer(kinds, by_layer=False), loss=lambda target, output: output)
model.train_on_batch(steps, np.zeros((1, 1)))
rate, share, epsilon = np.float32(0.01), np.float32(1 - 0.9), np.float32(1e-7)
expected = -(rate * steps / np.sqrt(share * (steps * steps) + epsilon))
print("rmsprop", np.array_equal(model.get_weights()[0].ravel(), expected.ravel()))

# Lengths of (3 k, 4 k, 0, 0) are exactly 5 k, so all that can round is the division.
head = build_head((1, 1, 4), 4, 0, True, 2)
whole = rng.integers(1, 400, 2048).astype(np.float32)
vectors = np.stack([3 * whole, 4 * whole, 0 * whole, 0 * whole], axis=1).reshape(-1, 1, 1, 4)
scaling = keras.Model(head.input, head.get_layer("unit_mean_square").output)
scaled = scaling.predict_on_batch(vectors).reshape(-1, 4)
expected = vectors.reshape(-1, 4) / (5 * whole[:, None]) * np.float32(2)
print("lengths", np.array_equal(scaled, expected))

# The gradient of the loss is TensorFlow's sigmoid, which has no approximated reciprocal in it.
logits = tf.constant(rng.uniform(-9, 9, (2048, 1)).astype(np.float32))
with tf.GradientTape() as tape:
    tape.watch(logits)
    loss = tf.reduce_sum(binary_crossentropy(tf.zeros((2048, 1)), logits))
print("loss", np.array_equal(tape.gradient(loss, logits).numpy(), tf.sigmoid(logits).numpy()))

# Batches of five rows, of which the C library computes at least one.
batches = np.random.default_rng(1).uniform(-9, 9, (500, 5, 1)).astype(np.float32)
losses = [binary_crossentropy(tf.zeros((5, 1)), tf.constant(each)).numpy() for each in batches]
expected = np.logaddexp(0, batches[..., 0].astype(np.float64)).astype(np.float32)
print("rounded", np.array_equal(losses, expected))

# Three steps of a head and of a network with convolutions, on whole numbers.
for model in (build_head((2, 2, 64), 132, 0, True, 2), build_small_network(48, 64, 0.5, 2)):
    compile_classifier(model, TrainingParams(**TRAINING))
    model.optimizer.build(model.trainable_variables)
    inputs = rng.integers(0, 256, (3, 20, *model.input_shape[1:])).astype(np.float32)
    targets = np.tile(np.arange(20) % 2, (3, 1)).reshape(3, 20, 1).astype(np.float32)
    rates = np.full(3, TRAINING["learning_rate"], dtype=np.float32)
    build_training_steps(model)(inputs, targets, np.ones((3, 20), dtype=np.float32), rates)
    weights = b"".join(weight.tobytes() for weight in model.get_weights())
    print(model.name, hashlib.md5(weights).hexdigest())
"""


@pytest.fixture(scope="module")
def computed() -> dict[str, str]:
    """In a process of its own, which is set up as a stage is."""
    lines = run(f"TRAINING = {TRAINING!r}\n{COMPUTED}").splitlines()
    return dict(line.split() for line in lines)


def test_roots_and_quotients_are_exact(computed):
    """Eigen computes rsqrt and reciprocal by instructions (rsqrtps, rcpps) that AMD and Intel
    approximate differently."""
    assert {name: computed[name] for name in ("rmsprop", "lengths", "loss")} == dict.fromkeys(
        ("rmsprop", "lengths", "loss"), "True"
    )


def test_the_loss_does_not_follow_the_c_library(computed):
    """glibc 2.36 and 2.41 round the logarithms of float32 differently."""
    assert computed["rounded"] == "True"


@pytest.mark.skipif(not HAS_AVX2, reason="the processor has no AVX2, for which the bytes are")
def test_training_gives_the_bytes_of_other_processors(computed):
    """Those of AMD EPYC with AVX-512 and of QEMU's Haswell and EPYC-Milan; other versions of Keras
    or TensorFlow may change them."""
    assert {name: computed[name] for name in ("head", "scratch")} == {
        "head": "402dd069eb12473f6e37fae71b27ed40",
        "scratch": "5bc7587baf28623327d7791773824605",
    }


HALF = """
import numpy as np
from transfer.compute.device import ComputeParams, configure_backend

configure_backend(ComputeParams(threads=2, device="cpu", precision="bfloat16"), seed=0, threads=2)
from transfer.classifiers.head import build_head

head = build_head((1, 1, 4), 4, 0, True, 2)
print(head.predict_on_batch(np.ones((2, 1, 1, 4), np.float32)).shape)
"""


def test_half_precision_is_not_held_to_avx2():
    """TensorFlow would end the process, since oneDNN has no such arithmetic within AVX2."""
    assert run(HALF).strip() == "(2, 1)"
