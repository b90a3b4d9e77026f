"""The backbone's cut, freezing and preprocessing."""

import numpy as np
import pytest

from tests.helpers.backbones import backbone_params
from transfer.backbones.network import (
    build_backbone,
    build_preprocessing,
    freeze_below,
    load_backbone,
    stitch,
    with_preprocessing,
)
from transfer.backbones.registry import WEIGHTS, BackboneParams
from transfer.classifiers.head import build_head
from transfer.runtime.errors import PipelineError
from transfer.runtime.files import write_bytes


def architecture(**changes) -> BackboneParams:
    return backbone_params("VGG16", **{"image_size": 32} | changes)


@pytest.fixture(scope="module")
def vgg16():
    return build_backbone("VGG16", 64)


def test_shapes_at_64_pixels_are_those_of_the_design(vgg16):
    cut, features = with_preprocessing(vgg16, architecture(image_size=64)).output_shape
    assert cut == (None, 4, 4, 512)
    assert features == (None, 2, 2, 512)


def test_the_summary_counts_trainable_and_frozen_parameters(vgg16, capsys):
    params = architecture(image_size=64)
    head = build_head((2, 2, 512), units=132, dropout=0, normalize=True, n_classes=2)
    freeze_below(vgg16, None)
    stitch(vgg16, head, params).summary()
    frozen = capsys.readouterr().out
    assert "Trainable params: 270,601" in frozen
    assert "Non-trainable params: 14,714,688" in frozen
    freeze_below(vgg16, "block5_conv1")
    stitch(vgg16, head, params).summary()
    tuned = capsys.readouterr().out
    assert "Trainable params: 7,350,025" in tuned
    assert "Non-trainable params: 7,635,264" in tuned


def test_freezing_below_a_layer_leaves_it_and_what_follows_trainable(vgg16):
    freeze_below(vgg16, "block5_conv1")
    assert [layer.name for layer in vgg16.layers if layer.trainable] == [
        "block5_conv1",
        "block5_conv2",
        "block5_conv3",
        "block5_pool",
    ]


@pytest.mark.parametrize(
    ("preprocessing", "expected"),
    [
        ("imagenet", [30 - 103.939, 20 - 116.779, 10 - 123.68]),
        ("rescale", [10 / 255, 20 / 255, 30 / 255]),
        ("none", [10, 20, 30]),
    ],
)
def test_preprocessing_is_the_backbones_own_and_leaves_its_input_alone(preprocessing, expected):
    params = architecture(preprocessing=preprocessing)
    images = np.tile(np.array([10, 20, 30], dtype=np.float32), (1, 32, 32, 1))
    before = images.copy()
    pixels = build_preprocessing(params).predict_on_batch(images)
    np.testing.assert_allclose(pixels[0, 0, 0], expected, rtol=1e-5)
    assert np.array_equal(images, before)


def test_missing_and_damaged_weights_say_so(project):
    with pytest.raises(PipelineError, match="is missing; run `dvc repro weights`"):
        load_backbone(architecture())
    write_bytes(WEIGHTS, b"no HDF5")
    with pytest.raises(PipelineError, match="is damaged or not of VGG16"):
        load_backbone(architecture())


def test_stitching_shares_the_weights(vgg16):
    head = build_head((2, 2, 512), units=4, dropout=0, normalize=True, n_classes=2)
    classifier = stitch(vgg16, head, architecture(image_size=64))
    assert classifier.count_params() == vgg16.count_params() + head.count_params()
    assert {id(v) for v in classifier.variables} == {
        id(v) for v in [*vgg16.variables, *head.variables]
    }
