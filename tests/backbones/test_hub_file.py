"""A `.keras` file with a network of KerasHub as the backbone; importing KerasHub takes seconds, so
most of these tests are slow."""

import json
import sys
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

from stages.weights import main
from tests.backbones.builders import error_of
from tests.backbones.hub_presets import (
    OFFSET,
    SCALE,
    SIDE,
    features_of_hub,
    network,
    pictures,
    save_file,
)
from tests.helpers.backbones import backbone_params
from tests.helpers.tiny_pipeline import run_every_stage
from transfer.backbones.network import (
    build_backbone,
    build_preprocessing,
    load_backbone,
    trainable_tail,
    with_preprocessing,
)
from transfer.backbones.registry import BackboneParams
from transfer.runtime.checksums import file_checksum
from transfer.runtime.extras import explain_missing


@pytest.fixture
def own(set_params, tmp_path):
    """Returns how to save a network of KerasHub and to name its file as the backbone."""

    def save(kind: str, in_task: bool = False) -> Path:
        path = save_file(kind, tmp_path / "mine.keras", in_task)
        set_params(str(path), sha256=file_checksum(path))
        return path

    return save


def params_of(path: Path, size: int, preprocessing: str = "none") -> BackboneParams:
    return backbone_params(path, image_size=size, preprocessing=preprocessing)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dinov2", "dinov3", "siglip", "vit"])
def test_features_are_those_of_keras_hub_and_the_cut_is_in_front_of_the_last_block(kind, own):
    path = own(kind)
    main()
    path.unlink()  # the stage's outputs alone are needed from here on
    params, images = params_of(path, SIDE[kind]), pictures(SIDE[kind])
    backbone = load_backbone(params)
    at_cut, features = with_preprocessing(backbone, params).predict_on_batch(images)
    expected = features_of_hub(kind, network(kind), images)
    np.testing.assert_allclose(features[:, 0, 0], expected, atol=1e-5 * np.abs(expected).max())
    tail = trainable_tail(backbone, "last_block")
    np.testing.assert_allclose(tail.predict_on_batch(at_cut), features, rtol=1e-5, atol=1e-6)
    assert "has no image converter of KerasHub" in error_of(
        lambda: build_preprocessing(params_of(path, SIDE[kind], "imagenet"))
    )


@pytest.mark.slow
def test_a_task_brings_its_preprocessing(own):
    path = own("vit", in_task=True)
    main()
    params, images = params_of(path, SIDE["vit"], "imagenet"), pictures(SIDE["vit"])
    pixels = build_preprocessing(params).predict_on_batch(images)
    np.testing.assert_allclose(pixels, images * SCALE + OFFSET, rtol=1e-5, atol=1e-6)
    _, features = with_preprocessing(load_backbone(params), params).predict_on_batch(images)
    expected = features_of_hub("vit", network("vit"), pixels)
    np.testing.assert_allclose(features[:, 0, 0], expected, atol=1e-5 * np.abs(expected).max())
    assert "takes only images of 32 pixels per side" in error_of(
        lambda: build_backbone(str(path), 64)
    )


@pytest.mark.slow
def test_a_network_in_half_precision_is_read_in_float32(own, set_params):
    path = own("vit")
    built = network("vit")
    type(built).from_config(built.get_config() | {"dtype": "float16"}).save(path)
    set_params(str(path), sha256=file_checksum(path))
    main()
    dtypes = {weight.dtype for weight in load_backbone(params_of(path, SIDE["vit"])).weights}
    assert dtypes == {"float32"}


@pytest.mark.slow
def test_a_network_of_keras_hub_inside_another_model_says_how_to_take_it_out(own, set_params):
    path = own("vit")
    inner = network("vit")
    pooled = keras.layers.GlobalAveragePooling1D()(inner(inner.input))
    keras.Model(inner.input, keras.layers.Dense(3)(pooled)).save(path)
    set_params(str(path), sha256=file_checksum(path))
    message = error_of(main)
    assert "KerasHub's ViTBackbone is a layer of it" in message
    assert f".get_layer('{inner.name}').save('backbone.keras')" in message


@pytest.mark.slow
def test_another_network_of_keras_hub_is_named_with_those_that_can_be_used(set_params, tmp_path):
    import keras_hub

    path = tmp_path / "mine.keras"
    sizes = {"num_layers": 1, "hidden_dim": 16, "num_heads": 2, "intermediate_dim": 16}
    keras_hub.models.DeiTBackbone((32, 32, 3), (16, 16), **sizes).save(path)
    set_params(str(path), sha256=file_checksum(path))
    assert "It is KerasHub's DeiTBackbone; choose one of DINOV2Backbone, DINOV3Backbone," in (
        error_of(main)
    )


def test_without_keras_hub_the_stage_says_which_extra_to_install(set_params, tmp_path, monkeypatch):
    path = tmp_path / "mine.keras"
    config = {"module": "keras_hub.src.models.vit", "class_name": "ViTBackbone", "config": {}}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps(config))
    set_params(str(path), sha256=file_checksum(path))
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    missing = pytest.raises(ModuleNotFoundError, main).value
    assert "make .venv/extra-hub" in explain_missing(missing)


@pytest.mark.slow
def test_every_stage_runs_with_a_task_and_predict_answers(tmp_path, project):
    path = save_file("vit", tmp_path / "mine.keras", in_task=True)
    run_every_stage(project, str(path), file_checksum(path), image_size=SIDE["vit"])
