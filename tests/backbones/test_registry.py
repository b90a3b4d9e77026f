"""The table of backbones: each network's sizes, cut, names, frozen statistics and weights, and what
a wrong name is told."""

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.backbones.builders import IN_KERAS
from tests.helpers.backbones import backbone_params
from tests.helpers.tiny_pipeline import ROOT
from transfer.backbones.network import (
    build_backbone,
    build_preprocessing,
    freeze_below,
    load_backbone,
    trainable_tail,
    with_preprocessing,
)
from transfer.backbones.registry import (
    ARCHITECTURES,
    WEIGHTS,
    BackboneParams,
    describe_weights_license,
    image_side,
)
from transfer.runtime.errors import PipelineError
from transfer.runtime.files import write_weights
from transfer.runtime.params import load_params

# Parameters without the top as Keras's documentation and the lessons have them;
# shapes at the default size.
KNOWN = {
    "VGG16": (14_714_688, (4, 4, 512), (2, 2, 512)),
    "VGG19": (20_024_384, (4, 4, 512), (2, 2, 512)),
    "Xception": (20_861_480, (4, 4, 1024), (4, 4, 2048)),
    "ResNet50": (23_587_712, (8, 8, 1024), (4, 4, 2048)),
    "InceptionV3": (21_802_784, (2, 2, 2048), (2, 2, 2048)),
    "EfficientNetV2B0": (5_919_312, (8, 8, 112), (4, 4, 1280)),
    "ConvNeXtTiny": (27_820_128, (4, 4, 768), (4, 4, 768)),
    "MobileNetV3Large": (2_996_352, (8, 8, 112), (4, 4, 960)),
    "EfficientNetLite0": (3_413_024, (8, 8, 112), (4, 4, 1280)),
    "EfficientNetLite1": (4_189_344, (8, 8, 112), (4, 4, 1280)),
    "EfficientNetLite2": (4_869_168, (8, 8, 120), (4, 4, 1280)),
}


def most_slow(*fast: str, names: Iterable[str] = ARCHITECTURES) -> list:
    """All names of the table; those that are not named here are for `make test-slow`."""
    return [name if name in fast else pytest.param(name, marks=pytest.mark.slow) for name in names]


def normalizations(backbone: keras.Model) -> list[keras.layers.Layer]:
    return [
        layer for layer in backbone.layers if isinstance(layer, keras.layers.BatchNormalization)
    ]


@pytest.mark.parametrize(
    "name", most_slow("VGG16", "VGG19", "MobileNetV3Large", "EfficientNetLite0")
)
def test_parameters_and_shapes_are_the_known_ones(name):
    params = backbone_params(name)
    backbone = build_backbone(name, params.image_size)
    cut, features = with_preprocessing(backbone, params).output_shape
    assert (backbone.count_params(), cut[1:], features[1:]) == KNOWN[name]


@pytest.mark.parametrize("name", most_slow("MobileNetV3Large", names=IN_KERAS))
def test_the_cut_stitched_is_the_whole_network_of_keras(name):
    params = backbone_params(name, image_size=ARCHITECTURES[name].smallest)
    backbone = build_backbone(name, params.image_size)
    shape = (params.image_size, params.image_size, 3)
    images = np.random.default_rng(0).integers(0, 256, (3, *shape)).astype(np.float32)
    at_cut, features = with_preprocessing(backbone, params).predict_on_batch(images)
    whole = getattr(keras.applications, name)(include_top=False, weights=None, input_shape=shape)
    whole.set_weights(backbone.get_weights())
    pixels = build_preprocessing(params)(images)
    np.testing.assert_allclose(features, whole.predict_on_batch(pixels), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(
        trainable_tail(backbone, params.unfreeze_from).predict_on_batch(at_cut),
        features,
        rtol=1e-5,
        atol=1e-7,
    )


@pytest.mark.parametrize("name", most_slow("MobileNetV3Large", "EfficientNetLite0"))
@pytest.mark.parametrize("frozen_below", ["all", "the cut"])
def test_batch_normalization_stays_in_inference_mode(name, frozen_below):
    params = backbone_params(name, image_size=ARCHITECTURES[name].smallest)
    backbone = build_backbone(name, params.image_size)
    freeze_below(backbone, None if frozen_below == "all" else params.unfreeze_from)
    before = [layer.get_weights() for layer in normalizations(backbone)]
    backbone(
        np.random.default_rng(0)
        .normal(size=(4, params.image_size, params.image_size, 3))
        .astype(np.float32),
        training=True,
    )
    for layer, weights in zip(normalizations(backbone), before, strict=True):
        assert all(
            np.array_equal(a, b) for a, b in zip(layer.get_weights(), weights, strict=True)
        ), layer.name
    assert not any(layer.trainable_variables for layer in normalizations(backbone))
    assert bool(backbone.trainable_variables) == (frozen_below == "the cut")


@pytest.mark.parametrize(
    "name", ["MobileNetV3Large", pytest.param("InceptionV3", marks=pytest.mark.slow)]
)
def test_layers_are_named_alike_whatever_was_built_before(name):
    size = image_side(name, None)
    code = (
        "from transfer.backbones.network import build_backbone; print([o.name for o in "
        f"build_backbone('{name}', {size}).operations])"
    )
    first = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
    keras.layers.Activation("relu"), keras.layers.Conv2D(1, 1), keras.layers.ReLU()
    assert (
        str([operation.name for operation in build_backbone(name, size).operations])
        == first.splitlines()[-1]
    )


@pytest.mark.parametrize("name", most_slow("MobileNetV3Large", "EfficientNetLite0"))
@pytest.mark.parametrize(
    "preprocessing", [pytest.param("imagenet", marks=pytest.mark.slow), "rescale"]
)
def test_weights_of_one_size_serve_any_other_and_any_preprocessing(name, preprocessing, project):
    small = build_backbone(name, ARCHITECTURES[name].smallest)
    write_weights(WEIGHTS, small)
    loaded = load_backbone(backbone_params(name, preprocessing=preprocessing))
    assert all(
        np.array_equal(a, b) for a, b in zip(small.get_weights(), loaded.get_weights(), strict=True)
    )


def test_networks_do_not_scale_pixels_themselves_if_the_preprocessing_does(tmp_path):
    name, images = "MobileNetV3Large", np.full((1, 32, 32, 3), 51, np.float32)
    by_itself, told = build_backbone(name, 32), build_backbone(name, 32, includes_scaling=False)
    told.set_weights(by_itself.get_weights())
    np.testing.assert_allclose(
        by_itself.predict_on_batch(images),
        told.predict_on_batch(images / 127.5 - 1),
        rtol=1e-4,
        atol=1e-6,
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"name": "VGG61"},
            "backbone.name = 'VGG61': no such backbone; did you mean VGG19 or VGG16? There are "
            "VGG16, VGG19, Xception,",
        ),
        ({"name": "resnet50"}, "did you mean ResNet50"),
        ({"name": "efficientnetb0"}, "did you mean EfficientNetV2B0"),
        ({"name": "efficientnet-lite0"}, "did you mean EfficientNetLite0"),
        (
            {"name": "EfficientNetLite0", "image_size": 31},
            "backbone.image_size = 31: EfficientNetLite0 needs at least 32 pixels per side",
        ),
        ({"name": "qqq"}, "backbone.name = 'qqq': no such backbone; There are"),
        (
            {"name": "Xception", "image_size": 64},
            "backbone.image_size = 64: Xception needs at least 71 pixels per side",
        ),
        (
            {"preprocessing": "own"},
            "backbone.preprocessing = 'own': Input should be 'imagenet', 'rescale' or 'none'",
        ),
        (
            {"name": "own.keras"},
            "backbone.image_size = null: give the number of pixels per side of the images for "
            "own.keras",
        ),
        ({"name": None}, "backbone.name = None: Input should be a valid string"),
    ],
)
def test_a_wrong_parameter_names_itself_its_value_and_what_there_is(changes, words, project):
    section = {
        "name": "VGG16",
        "image_size": None,
        "preprocessing": "imagenet",
        "unfreeze_from": "block5_conv1",
    } | changes
    Path("params.yaml").write_text(str({"backbone": section}).replace("None", "null"))
    with pytest.raises(PipelineError) as error:
        load_params(BackboneParams, "backbone")
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("name", "layer", "nearest"),
    [
        pytest.param(
            "ResNet50", "conv5_block1_2_conv", "conv5_block1_1_conv", marks=pytest.mark.slow
        ),
        ("MobileNetV3Large", "expanded_conv_12_squeeze_excite_conv", "expanded_conv_12_"),
    ],
)
def test_a_layer_that_some_paths_go_around_is_no_cut_and_the_nearest_is_named(name, layer, nearest):
    with pytest.raises(PipelineError) as error:
        trainable_tail(build_backbone(name, 32), layer)
    assert f"backbone.unfreeze_from = '{layer}'" in str(error.value)
    assert f"the nearest suitable layer is {nearest}" in str(error.value)


def test_a_layer_that_is_none_gets_the_list():
    with pytest.raises(
        PipelineError,
        match="'block6': no such layer in vgg16; there are block1_conv1, .*block5_pool",
    ):
        trainable_tail(build_backbone("VGG16", 32), "block6")


def test_every_network_has_a_source_of_its_weights_and_their_license():
    for name, known in ARCHITECTURES.items():
        assert known.headless or known.wheel, name
        assert known.license.spdx in {"CC-BY-4.0", "MIT", "Apache-2.0"}, name
        assert "arXiv:" in known.license.attribution, name
        assert (known.module is None) == (known.whole is None), name


def test_the_licence_of_the_weights_is_told_as_far_as_it_is_known():
    for name, known in ARCHITECTURES.items():
        told = describe_weights_license(name, "imagenet", None)
        assert known.license.spdx in told and known.license.attribution in told
    assert "nothing pretrained" in describe_weights_license("VGG16", "random", None)
    for name, path in (("VGG16", "own.h5"), ("own.keras", None)):
        told = describe_weights_license(name, "imagenet", path)
        assert f"are from {path or name}; the pipeline does not know their licence" in told
