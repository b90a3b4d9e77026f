"""KerasHub's networks as backbones: tiny presets with random weights, in the format of the real
ones."""

import json
import shutil
import sys
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest

from stages.weights import main
from tests.backbones.builders import error_of
from tests.backbones.hub_presets import SIDE, features_of_hub, pictures, save
from tests.helpers.backbones import backbone_params
from tests.helpers.tiny_pipeline import run_every_stage
from transfer.backbones.conversion import TOLERANCE, to_litert
from transfer.backbones.litert_network import OUTPUTS
from transfer.backbones.network import (
    build_backbone,
    build_preprocessing,
    load_backbone,
    trainable_tail,
    with_preprocessing,
)
from transfer.backbones.registry import LAYERS, WEIGHTS, BackboneParams
from transfer.classifiers.dense_head import DenseHead
from transfer.classifiers.head import build_head
from transfer.classifiers.names import HISTORY, description_file
from transfer.classifiers.saved import Classifier, load_classifier, save_classifier
from transfer.compute.litert import InterpreterPool
from transfer.evaluation.gradcam import heat_of, signs
from transfer.evaluation.keras_gradcam import heat_maps, split_at_maps
from transfer.runtime.checksums import file_checksum
from transfer.runtime.extras import explain_missing

to_numpy = keras.ops.convert_to_numpy
WEIGHTS_FILE = "model.weights.h5"
# Another size than that of the preset where the network takes any.
SIZES = [("dinov2", 56), ("dinov3", 64), *((kind, SIDE[kind]) for kind in ("siglip", "vit"))]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Returns the folder of a kind's preset, which is made once."""
    made = {}

    def of(kind: str) -> Path:
        if kind not in made:
            made[kind] = save(kind, tmp_path_factory.mktemp("presets") / kind)
        return made[kind]

    return of


@pytest.fixture
def preset(set_params, saved, tmp_path):
    """Returns how to name a copy of a kind's preset as the backbone."""

    def name(kind: str, **weights) -> Path:
        folder = shutil.copytree(saved(kind), tmp_path / "preset", dirs_exist_ok=True)
        checksum = file_checksum(folder / WEIGHTS_FILE)
        set_params(f"keras_hub:{folder}", **{"sha256": checksum} | weights)
        return folder

    return name


def params_of(folder: Path, size: int, **changes) -> BackboneParams:
    return backbone_params(f"keras_hub:{folder}", image_size=size, **changes)


def features_of(folder: Path, kind: str, pixels: np.ndarray) -> np.ndarray:
    """The features (N, C) as KerasHub itself computes them from preprocessed pixels."""
    import keras_hub

    size = {} if kind in ("siglip", "vit") else {"image_shape": pixels.shape[1:]}
    return features_of_hub(kind, keras_hub.models.Backbone.from_preset(str(folder), **size), pixels)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "size"), SIZES)
def test_pixels_and_features_are_those_of_keras_hub_and_the_two_parts_make_the_whole(
    kind, size, preset
):
    import keras_hub

    folder = preset(kind)
    main()
    params = params_of(folder, size)
    backbone, images = load_backbone(params), pictures(size)
    own = keras_hub.layers.ImageConverter.from_preset(str(folder))
    own.image_size = (size, size)
    pixels = np.asarray(own(images))
    np.testing.assert_array_equal(to_numpy(build_preprocessing(params)(images)), pixels)
    at_cut, features = map(to_numpy, with_preprocessing(backbone, params)(images))
    expected = features_of(folder, kind, pixels)
    np.testing.assert_allclose(features[:, 0, 0], expected, atol=1e-5 * np.abs(expected).max())
    np.testing.assert_array_equal(
        to_numpy(trainable_tail(backbone, params.unfreeze_from)(at_cut)), features
    )
    assert at_cut.ndim == features.ndim == 4 and features.shape[1:3] == (1, 1)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "size"), SIZES)
@pytest.mark.parametrize("unfreeze_from", ["embed", "block_0", "block_1", "last_block"])
def test_litert_computes_the_same_wherever_the_network_is_cut(kind, size, unfreeze_from, preset):
    folder = preset(kind)
    main()
    first = "patch_embedding" if kind in ("siglip", "vit") else "embeddings"
    params = params_of(
        folder, size, unfreeze_from=first if unfreeze_from == "embed" else unfreeze_from
    )
    frozen = with_preprocessing(load_backbone(params), params, with_maps=True)
    images = pictures(size)
    computed = InterpreterPool(to_litert(frozen, OUTPUTS), OUTPUTS).run(list(images))
    for ours, expected in zip(computed, frozen.predict_on_batch(images), strict=True):
        assert np.abs(ours - expected).max() <= TOLERANCE * np.abs(expected).max()


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "size"), SIZES)
def test_only_the_layers_behind_the_cut_are_in_a_model_on_disk(kind, size, preset):
    """A fine-tuned model is read again by Keras, with KerasHub and without this project's code."""
    folder = preset(kind)
    main()
    params = params_of(folder, size)
    backbone = load_backbone(params)
    tail = trainable_tail(backbone, params.unfreeze_from)
    again = keras.models.model_from_json(tail.to_json())
    again.set_weights(tail.get_weights())
    modules = {type(layer).__module__.split(".")[0] for layer in backbone.layers}
    assert modules == {"keras", "keras_hub"}
    cut = np.random.default_rng(1).random((2, *tail.input_shape[1:])).astype(np.float32)
    np.testing.assert_array_equal(again.predict_on_batch(cut), tail.predict_on_batch(cut))
    assert tail.count_params() < backbone.count_params()


@pytest.mark.slow
def test_random_weights_of_a_preset_are_others_and_its_weights_are_not_read(preset):
    folder = preset("dinov2", source="random", sha256=None)
    (folder / WEIGHTS_FILE).unlink()
    main()
    first = WEIGHTS.read_bytes()
    main()
    assert WEIGHTS.read_bytes() == first
    backbone = load_backbone(params_of(folder, 28))
    assert not backbone.get_layer("layernorm").get_weights()[1].any()


def test_a_size_that_the_network_does_not_take_is_refused(preset, saved):
    folder = preset("dinov2")
    main()
    name = f"keras_hub:{folder}"
    assert "divides images into patches of 14 pixels" in error_of(lambda: build_backbone(name, 30))
    recorded = json.loads(LAYERS.read_text())
    recorded["model"] |= {"class_name": "SigLIPVisionEncoder"}
    LAYERS.write_text(json.dumps(recorded))
    assert "takes only images of 28 pixels per side" in error_of(lambda: build_backbone(name, 42))
    recorded["model"] |= {"class_name": "Model"}
    LAYERS.write_text(json.dumps(recorded))
    assert "names Model, which is no backbone" in error_of(lambda: build_backbone(name, 28))
    LAYERS.write_text("{}")
    assert "has no preset of KerasHub" in error_of(lambda: build_backbone(name, 28))
    LAYERS.unlink()
    assert f"{LAYERS} is missing; run `dvc repro weights`" in error_of(
        lambda: build_backbone(name, 28)
    )


@pytest.mark.slow
def test_a_preset_without_an_image_converter_needs_another_preprocessing(preset):
    folder = preset("dinov2")
    (folder / "image_converter.json").unlink()
    main()
    assert f"{folder} has no image converter" in error_of(
        lambda: build_preprocessing(params_of(folder, 28))
    )
    build_preprocessing(params_of(folder, 28, preprocessing="rescale"))  # needs none


def test_a_preset_that_cannot_serve_says_why(preset, set_params, tmp_path):
    folder = preset("dinov2", sha256=None)
    checksum = file_checksum(folder / WEIGHTS_FILE)
    assert f"give the checksum of its {WEIGHTS_FILE} too, weights.sha256: {checksum}" in error_of(
        main
    )
    preset("dinov2", sha256="0" * 64)
    assert "but weights.sha256 = 0000" in error_of(main)
    preset("dinov2", compare=True)
    assert "brings its own weights; set weights.path: null" in error_of(main)
    (folder / WEIGHTS_FILE).write_bytes(b"none")
    set_params(f"keras_hub:{folder}", sha256=file_checksum(folder / WEIGHTS_FILE))
    assert "KerasHub cannot read the preset" in error_of(main)
    (folder / WEIGHTS_FILE).unlink()
    assert f"the preset has no {WEIGHTS_FILE}" in error_of(main)
    (folder / "config.json").write_text('{"class_name": "BertBackbone"}')
    assert "it is a BertBackbone; backbones are made of DINOV2Backbone," in error_of(main)
    (folder / "config.json").write_text('{"model_type": "dinov2"}')
    assert "no preset in the format of KerasHub" in error_of(main)
    set_params(f"keras_hub:{tmp_path}/nothing")
    assert f"there is no folder {tmp_path}/nothing; correct the path" in error_of(main)
    set_params("keras_hub:preset")
    assert "lists no such preset" in error_of(main) and not LAYERS.exists()


def test_a_host_that_is_out_of_reach_is_named_and_what_to_do(set_params, monkeypatch):
    import kagglehub

    def refuse(*words):
        raise ConnectionError("no route to the host")

    monkeypatch.setattr(kagglehub, "model_download", refuse)
    set_params("keras_hub:dinov2_small")
    message = error_of(main)
    assert "KerasHub cannot obtain config.json: no route to the host" in message
    assert "fetch the preset on another machine and name its folder" in message


def test_without_keras_hub_the_stage_says_which_extra_to_install(preset, monkeypatch):
    preset("dinov2")
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    missing = pytest.raises(ModuleNotFoundError, main).value
    assert "make .venv/extra-hub" in explain_missing(missing)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "size"), SIZES)
def test_grad_cam_of_numpy_is_that_of_keras(kind, size, preset):
    folder = preset(kind)
    main()
    params = params_of(folder, size)
    backbone, images, targets = load_backbone(params), pictures(size), np.array([0, 1])
    head = build_head(backbone.output_shape[1:], 4, 0, True, 3)
    frozen = with_preprocessing(backbone, params, with_maps=True)
    at_cut, features, maps = frozen.predict_on_batch(images)
    (hidden_kernel, hidden_bias), (logits_kernel, _) = (
        head.get_layer(name).get_weights() for name in ("hidden", "logits")
    )
    dense = DenseHead(True, hidden_kernel, hidden_bias, logits_kernel)
    halves = split_at_maps(head, "features", backbone, params.unfreeze_from)
    expected = heat_maps(halves, at_cut[:2], targets)
    found = heat_of(maps, dense.gradients(features, signs(targets, 3)))
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert expected.shape == (2, *maps.shape[1:3]) and (np.ptp(expected, axis=(1, 2)) > 0).any()


def test_a_fine_tuned_model_without_keras_hub_says_which_extra_to_install(project, monkeypatch):
    pixels = keras.Input((4, 4, 3))
    model = keras.Model(pixels, keras.layers.Dense(2)(keras.layers.Flatten()(pixels)))
    classifier = Classifier(model, "images", ["a", "b"], 1)
    save_classifier("finetuned", classifier, pd.DataFrame(columns=HISTORY))
    file = description_file("finetuned")
    file.write_text(file.read_text().replace('"keras.layers"', '"keras_hub.layers"'))
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    missing = pytest.raises(ModuleNotFoundError, load_classifier, "finetuned").value
    assert "make .venv/extra-hub" in explain_missing(missing)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dinov3", "siglip"])
def test_every_stage_runs_with_a_preset_and_predict_answers(kind, saved, project):
    folder = saved(kind)
    run_every_stage(
        project, f"keras_hub:{folder}", file_checksum(folder / WEIGHTS_FILE), image_size=SIDE[kind]
    )
