"""The converted network: its conversion, its rows, its files when they are damaged, and the choice
of what runs it."""

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np
import pytest

from stages import convert as stage
from tests.helpers.backbones import backbone_params
from tests.helpers.tiny_sources import REPOSITORY, write_params
from transfer.backbones import conversion
from transfer.backbones.conversion import ConversionError, convert
from transfer.backbones.converted import NETWORK, RECORD, read_converted, read_network
from transfer.backbones.litert_network import LiteRTNetwork, maps_and_features
from transfer.backbones.network import build_backbone, with_preprocessing
from transfer.backbones.registry import ARCHITECTURES, WEIGHTS, BackboneParams
from transfer.compute import litert, litert_support
from transfer.compute.params import ComputeParams
from transfer.features import frozen_network
from transfer.features.extraction import unchanged
from transfer.features.frozen_network import ExtractParams, FrozenTask, choose_runtime, load_network
from transfer.runtime.errors import PipelineError
from transfer.runtime.files import write_weights
from transfer.runtime.pins import in_use

MOBILE = {
    "name": "MobileNetV3Large",
    "image_size": 32,
    "preprocessing": "imagenet",
    "unfreeze_from": "expanded_conv_12_expand",
}
CPU = ComputeParams(threads=1, device="cpu", precision="float32")


def architecture_of(name: str, size: int | None = None) -> BackboneParams:
    return backbone_params(name, image_size=size or ARCHITECTURES[name].smallest)


def random_network(architecture: BackboneParams, with_maps: bool = False) -> keras.Model:
    keras.utils.set_random_seed(0)
    return with_preprocessing(
        build_backbone(architecture.name, architecture.image_size), architecture, with_maps
    )


@pytest.fixture(scope="module")
def vgg() -> bytes:
    return convert(random_network(architecture_of("VGG16", 64)))


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (13, 64, 64, 3), dtype=np.uint8)


def test_a_row_depends_on_its_image_only(vgg, images):
    """Whatever the neighbours, the place, the number of images, the threads: the same bytes."""
    network = LiteRTNetwork(vgg, identity=b"")
    everything = network(images)
    for chosen in (
        np.random.default_rng(5).permutation(len(images)),
        np.array([3]),
        np.array([7, 7, 1]),
    ):
        for whole, part in zip(everything, network(images[chosen]), strict=True):
            assert np.array_equal(whole[chosen], part)


@pytest.mark.parametrize("division", [(1, 1), (1, 2), (2, 1), (1, 3)])
def test_a_row_is_the_same_for_any_division_of_the_cores(vgg, images, monkeypatch, division):
    expected = LiteRTNetwork(vgg, identity=b"")(images)
    monkeypatch.setattr(litert, "divide_cores", lambda *_: division)
    network = LiteRTNetwork(vgg, identity=b"")
    with ThreadPoolExecutor(4) as pool:
        parts = list(
            pool.map(network, [images[start : start + 2] for start in range(0, len(images), 2)])
        )
    for whole, part in zip(expected, zip(*parts, strict=True), strict=True):
        assert whole.tobytes() == np.concatenate(part).tobytes()


def test_threads_take_an_interpreter_each_and_no_more_than_there_is_room_for(
    vgg, images, monkeypatch
):
    made, together = [], threading.Barrier(2, timeout=20)

    class Counted(litert._OneRow):
        def __init__(self, *arguments):
            made.append(self)
            super().__init__(*arguments)

        def run(self, row):
            if row.sum() == 0:
                together.wait()
            return super().run(row)

    monkeypatch.setattr(litert, "_OneRow", Counted)
    monkeypatch.setattr(litert, "divide_cores", lambda *_: (2, 1))
    network = LiteRTNetwork(vgg, identity=b"")
    assert len(made) == 1
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(network, [np.zeros((1, 64, 64, 3))] * 2))
        list(pool.map(network, [images[:2]] * 8))
    assert len(made) == 2


@pytest.mark.parametrize(
    "name",
    [
        name if name == "MobileNetV3Large" else pytest.param(name, marks=pytest.mark.slow)
        for name in ARCHITECTURES
    ],
)
def test_every_backbone_converts_and_computes_what_keras_computes(name, monkeypatch):
    monkeypatch.setattr(conversion, "TOLERANCE", 1e-5)
    model = random_network(architecture_of(name), with_maps=True)
    content = convert(model)
    network = LiteRTNetwork(content, identity=b"")
    shapes = [shape[1:] for shape in model.output_shape]
    assert [network.cut_shape, network.features_shape] == shapes[:2]
    assert network.image_shape == model.input_shape[1:]
    image = np.zeros((1, *network.image_shape))
    maps, features = maps_and_features(content, image)
    assert maps.shape == (1, *shapes[2])
    assert (features == network(image)[1]).all()


def test_a_conversion_that_computes_something_else_is_refused():
    image = keras.Input((8, 8, 3))
    cut = keras.layers.Conv2D(4, 3, kernel_initializer=keras.initializers.RandomNormal(seed=0))(
        image
    )
    model = keras.Model(image, [cut, keras.layers.AveragePooling2D(3)(cut)])
    content, other = convert(model), keras.models.clone_model(model)
    other.set_weights([1.001 * weight for weight in model.get_weights()])
    with pytest.raises(
        ConversionError,
        match=(
            r"LiteRT computes other activations \((cut|features)\) than Keras, by \S+ of the "
            r"largest"
        ),
    ):
        conversion.check_equivalence(
            other, content, ("cut", "features"), np.full((1, 8, 8, 3), 99, np.float32)
        )


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A project with weights, and the network that the stage has converted from them."""
    folder = tmp_path_factory.mktemp("made")
    write_params(folder, backbone=MOBILE)
    with contextlib.chdir(folder):
        keras.utils.set_random_seed(0)
        write_weights(WEIGHTS, build_backbone(MOBILE["name"], MOBILE["image_size"]))
        stage.main()
    return folder


@pytest.fixture
def converted(made, project) -> BackboneParams:
    """A copy of that project, which is the working directory."""
    shutil.copytree(made, project, dirs_exist_ok=True)
    return BackboneParams(**MOBILE)


def test_the_stage_writes_a_network_that_needs_neither_keras_nor_a_backend(converted, project):
    assert choose_runtime(converted, CPU) == "litert"
    code = """
import sys
import numpy as np
import stages.augment, stages.extract
from transfer.backbones.registry import BackboneParams
from transfer.compute.params import ComputeParams
from transfer.features.frozen_network import choose_runtime, load_network
from transfer.runtime.params import load_params
architecture = load_params(BackboneParams, "backbone")
runtime = choose_runtime(architecture, load_params(ComputeParams, "compute"))
cut, features = load_network(runtime, architecture, 64)(np.zeros((2, 32, 32, 3)))
print(cut.shape, features.shape, {"keras", "tensorflow", "jax", "torch"} & {*sys.modules})
"""
    variables = os.environ | {"PYTHONPATH": str(REPOSITORY), "CUDA_VISIBLE_DEVICES": "-1"}
    finished = subprocess.run(
        [sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=True
    )
    assert finished.stdout.strip() == "(2, 2, 2, 112) (2, 1, 1, 960) set()"
    assert finished.stderr == ""


def test_a_worker_needs_only_the_packages_of_its_runtime():
    extract = ExtractParams(batch_size=64, dtype="float32")
    works = {
        runtime: FrozenTask(BackboneParams(**MOBILE), extract, CPU, unchanged, runtime)
        for runtime in ("litert", "keras")
    }
    assert {*works["litert"].unused_packages} == {"keras", *in_use(["tensorflow"])}
    assert works["keras"].unused_packages == ("ai-edge-litert",)


def test_a_network_of_other_weights_is_refused(converted):
    write_weights(WEIGHTS, build_backbone(converted.name, converted.image_size))
    with pytest.raises(
        PipelineError, match=rf"{NETWORK} does not belong to {WEIGHTS}: .* run `dvc repro convert`"
    ):
        choose_runtime(converted, CPU)
    WEIGHTS.unlink()  # a worker of a cluster has the network alone
    assert choose_runtime(converted, CPU) == "litert"


@pytest.mark.parametrize(
    ("key", "value"),
    [("image_size", 64), ("preprocessing", "none"), ("unfreeze_from", "expanded_conv_13_expand")],
)
def test_a_network_of_other_parameters_is_refused(converted, key, value):
    with pytest.raises(
        PipelineError,
        match=rf"of another network than params.yaml names \({key} .* instead of .*\); "
        "run `dvc repro convert`",
    ):
        read_converted(converted.model_copy(update={key: value}))


@pytest.mark.parametrize("length", [0, 1, 20, 1000, 100_000, -1])
def test_a_network_cut_short_is_refused(converted, length):
    NETWORK.write_bytes(NETWORK.read_bytes()[:length])
    with pytest.raises(
        PipelineError,
        match=rf"{NETWORK} is damaged or of another network: .* "
        "delete it and run `dvc repro convert`",
    ):
        load_network("litert", converted, 64)


def test_bytes_that_are_no_network_are_refused_even_if_the_record_names_them(converted):
    NETWORK.write_bytes(b"no network" * 100)
    record = json.loads(RECORD.read_text()) | {
        "network": hashlib.sha256(NETWORK.read_bytes()).hexdigest()
    }
    RECORD.write_text(json.dumps(record))
    with pytest.raises(
        PipelineError,
        match=rf"{NETWORK}: LiteRT cannot read it .*; run `dvc repro --force convert`",
    ):
        load_network("litert", converted, 64)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"backbone": 1}'])
def test_a_damaged_record_is_refused(converted, content):
    RECORD.write_text(content)
    with pytest.raises(
        PipelineError, match=rf"{RECORD} is damaged .*; delete it and run `dvc repro convert`"
    ):
        read_converted(converted)


def test_missing_files_say_how_to_get_them(converted):
    record = read_converted(converted)
    NETWORK.unlink()
    with pytest.raises(
        PipelineError, match=rf"{NETWORK} is missing; run `dvc repro convert` or `dvc pull convert`"
    ):
        read_network(record)
    RECORD.unlink()
    with pytest.raises(
        PipelineError, match=rf"{RECORD} is missing; run `dvc repro convert` or `dvc pull convert`"
    ):
        choose_runtime(converted, CPU)


def test_a_network_that_cannot_be_converted_leaves_a_record_and_keras_computes(
    converted, monkeypatch, capsys
):
    def refuse(*_, **__):
        raise RuntimeError("loc: error: 'tf.Own' op is neither a custom op nor a flex op\n")

    monkeypatch.setattr(conversion.tf.saved_model, "save", refuse)
    stage.main()
    assert NETWORK.read_bytes() == b""
    assert (
        "cannot be converted: TensorFlow's converter refuses it: loc: error: 'tf.Own' op is neither"
        in capsys.readouterr().out
    )
    assert choose_runtime(converted, CPU) == "keras"
    assert (
        "are computed by Keras's backend, not by LiteRT: frozen cannot be converted"
        in capsys.readouterr().err
    )
    cut, features = load_network("keras", converted, 64)(np.zeros((3, 32, 32, 3)))
    assert (cut.shape, features.shape) == ((3, 2, 2, 112), (3, 1, 1, 960))


def test_without_tensorflow_the_stage_says_so(converted, monkeypatch, capsys):
    monkeypatch.setattr(stage, "find_spec", lambda name: None)
    stage.main()
    assert (
        "convert: TensorFlow is not installed, and its converter makes the LiteRT file; Keras's "
        "backend will" in capsys.readouterr().out
    )
    assert json.loads(RECORD.read_text())["problem"].startswith("TensorFlow is not installed")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"missing_instructions": lambda: "avx2"}, "this processor has no AVX2"),
        ({"find_spec": lambda _: None}, "LiteRT is not installed"),
    ],
)
def test_a_processor_or_machine_without_what_litert_needs_gets_keras_and_a_sentence(
    converted, monkeypatch, capsys, change, reason
):
    for name, value in change.items():
        monkeypatch.setattr(litert_support, name, value)
    assert choose_runtime(converted, CPU) == "keras"
    assert f"not by LiteRT: {reason}" in capsys.readouterr().err


def test_half_precision_on_a_cpu_is_left_to_keras(converted, capsys):
    assert choose_runtime(converted, CPU.model_copy(update={"precision": "bfloat16"})) == "keras"
    assert "compute.precision = bfloat16, and LiteRT computes in float32" in capsys.readouterr().err


def test_an_accelerator_gets_keras_and_needs_no_converted_network(project, monkeypatch):
    architecture = BackboneParams(**MOBILE)
    assert choose_runtime(architecture, CPU.model_copy(update={"device": "gpu"})) == "keras"
    monkeypatch.setattr(frozen_network, "may_have_accelerator", lambda: True)
    monkeypatch.setattr(frozen_network, "_sees_accelerator", lambda: True)
    assert choose_runtime(architecture, CPU.model_copy(update={"device": "auto"})) == "keras"
