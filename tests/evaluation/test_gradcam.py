"""Grad-CAM marks the regions that are known to speak for a class, with and without Keras."""

import numpy as np
import pandas as pd
import pytest

from transfer.backbones.network import build_backbone, trainable_tail
from transfer.classifiers.conversion import convert_classifier
from transfer.classifiers.dense_head import load_dense_head
from transfer.classifiers.head import build_head, build_linear
from transfer.classifiers.litert_classifier import LiteRTClassifier
from transfer.classifiers.names import description_file
from transfer.classifiers.probe import Probe
from transfer.classifiers.saved import Classifier, save_classifier
from transfer.classifiers.scratch import build_small_network
from transfer.compute.keras import keras
from transfer.evaluation.gradcam import heat_of, overlay, signs
from transfer.evaluation.keras_gradcam import gradients_of_logits, heat_maps, split_at_maps
from transfer.runtime.errors import PipelineError

to_numpy = keras.ops.convert_to_numpy


@pytest.fixture(scope="module")
def backbone() -> keras.Model:
    keras.utils.set_random_seed(0)
    return build_backbone("VGG16", 64)


def bright_or_not() -> keras.Model:
    """Cut (4, 4, 2) -> a logit a class: class 0 sums the first channel, class 1 the second."""
    cut = keras.Input((4, 4, 2))
    maps = keras.layers.Conv2D(2, 1, use_bias=False, name="maps")(cut)
    logits = keras.layers.Dense(2, use_bias=False)(keras.layers.GlobalAveragePooling2D()(maps))
    model = keras.Model(cut, logits)
    model.set_weights([np.eye(2).reshape(1, 1, 2, 2), np.eye(2)])
    return model


def test_the_heat_map_marks_the_region_of_the_class(backbone):
    cut = np.zeros((3, 4, 4, 2), dtype=np.float32)
    cut[1, 0, 3, 0], cut[1, 2, 1, 1] = 5, 2
    heat = heat_maps(
        split_at_maps(bright_or_not(), "cut", backbone, "block5_conv1"),
        cut[[1, 1, 2]],
        np.array([0, 1, 0]),
    )
    assert heat.shape == (3, 4, 4)
    assert np.argwhere(heat[0]).tolist() == [[0, 3]]
    assert np.argwhere(heat[1]).tolist() == [[2, 1]]
    assert heat[0].max() == heat[1].max() == 1
    assert not heat[2].any()


def test_a_head_on_features_is_explained_on_the_maps_in_front_of_the_pooling(backbone):
    head = build_head((2, 2, 512), 4, 0, True, 2)
    to_maps, to_logits = split_at_maps(head, "features", backbone, "block5_conv1")
    cut = np.random.default_rng(0).random((2, 4, 4, 512), dtype=np.float32)
    assert to_maps.output_shape == (None, 4, 4, 512)
    whole = head(trainable_tail(backbone, "block5_conv1")(cut))
    assert np.array_equal(to_numpy(to_logits(to_maps(cut))), to_numpy(whole))


def test_a_channel_that_is_the_same_everywhere_tells_no_region(backbone):
    cut = np.zeros((1, 4, 4, 2), dtype=np.float32)
    cut[0, 0, 3, 0], cut[0, :, :, 1] = 5, 7
    halves = split_at_maps(bright_or_not(), "cut", backbone, "block5_conv1")
    heat = heat_maps(halves, cut[[0, 0]], np.array([0, 1]))
    assert np.argwhere(heat[0]).tolist() == [[0, 3]]
    assert not heat[1].any()


def test_activations_of_a_single_pixel_are_not_explained_but_those_in_front_of_them(backbone):
    cut = keras.Input((4, 4, 2))
    maps = keras.layers.Conv2D(2, 1, name="maps")(cut)
    pooled = keras.layers.GlobalAveragePooling2D(name="mean")(maps)
    logits = keras.layers.Dense(2)(keras.layers.Flatten()(keras.layers.Reshape((1, 1, 2))(pooled)))
    to_maps, _ = split_at_maps(keras.Model(cut, logits), "cut", backbone, "block5_conv1")
    assert to_maps.layers[-1].name == "maps"


def test_the_gradient_is_that_of_finite_differences():
    model = bright_or_not()
    inputs = np.random.default_rng(0).random((1, 4, 4, 2)).astype(np.float32)
    weights = signs(np.array([1]), 2)
    found = gradients_of_logits(model, inputs, weights)
    step = np.zeros_like(inputs)
    step[0, 1, 2, 1] = 0.5
    change = ((to_numpy(model(inputs + step)) - to_numpy(model(inputs - step))) * weights).sum()
    assert found[0, 1, 2, 1] == pytest.approx(change, rel=1e-4)


def behind_the_cut() -> keras.Model:
    """As `finetune` builds it: layers of the backbone, a pooling layer, a head."""
    cut = keras.Input((4, 4, 3), name="cut")
    maps = keras.layers.Conv2D(6, 3, padding="same", activation="relu", name="conv")(cut)
    pooled = keras.layers.MaxPooling2D(name="pool")(maps)
    return keras.Model(cut, build_head((2, 2, 6), 5, 0.5, True, 2)(pooled))


@pytest.mark.parametrize(
    ("kind", "build", "n_logits"),
    [("images", lambda: build_small_network(32, 8, 0.5, 3), 3), ("cut", behind_the_cut, 1)],
)
def test_the_heat_maps_without_keras_are_those_of_its_gradients(project, kind, build, n_logits):
    keras.utils.set_random_seed(1)
    model = build()
    save_classifier("own", Classifier(model, kind, ["a"], 1), pd.DataFrame({"loss": [1.0]}))
    inputs = np.random.default_rng(0).random((5, *model.input_shape[1:]), np.float32)
    inputs *= 255 if kind == "images" else 1
    targets = np.arange(5) % max(2, n_logits)
    on_litert = LiteRTClassifier(convert_classifier(model, kind), kind, ["a"])
    maps, features = on_litert.maps_and_features(inputs)
    head = load_dense_head("own")
    found = heat_of(maps, head.gradients(features, signs(targets, head.n_logits)))
    expected = heat_maps(split_at_maps(model, kind, None, "-"), inputs, targets)
    assert head.n_logits == n_logits
    assert found.any()
    assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("is_scaled", [True, False])
def test_the_gradients_without_keras_are_its_own(project, is_scaled):
    keras.utils.set_random_seed(2)
    model = build_head((2, 2, 6), 7, 0, is_scaled, 4)
    save_classifier("own", Classifier(model, "features", ["a"], 1), pd.DataFrame({"loss": [1.0]}))
    features = np.random.default_rng(0).random((3, 2, 2, 6), np.float32)
    features[2] = 0  # a length that nothing can be divided by
    weights = signs(np.array([3, 0, 1]), 4)
    head = load_dense_head("own")
    found = head.gradients(features, weights)
    expected = gradients_of_logits(model, features, weights)
    assert found.shape == features.shape
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-5)
    no_mistakes = head.gradients(features[:0], weights[:0])
    assert heat_of(features[:0], no_mistakes).shape == (0, 2, 2)


def test_the_probes_gradients_are_keras_own():
    kernel, bias = np.arange(-4, 4, dtype=np.float32).reshape(4, 2), np.ones(2, np.float32)
    features = np.random.default_rng(0).random((3, 3, 2, 4), np.float32)
    weights = signs(np.array([1, 0, 1]), 2)
    found = Probe(kernel, bias).gradients(features, weights)
    assert Probe(kernel, bias).gradients(features[:0], weights[:0]).shape == (0, 3, 2, 4)
    model = build_linear((3, 2, 4), kernel, bias)
    assert found == pytest.approx(gradients_of_logits(model, features, weights))


def test_a_model_that_ends_with_other_layers_is_refused(project):
    model = bright_or_not()
    save_classifier("own", Classifier(model, "cut", ["a"], 1), pd.DataFrame({"loss": [1.0]}))
    with pytest.raises(PipelineError, match="do not belong together: the last dense layers are"):
        load_dense_head("own")
    description_file("own").write_text("{}")
    with pytest.raises(PipelineError, match="damaged"):
        load_dense_head("own")


def test_one_logit_speaks_for_label_1_and_against_label_0():
    assert signs(np.array([0, 1]), 1).tolist() == [[-1], [1]]
    assert signs(np.array([2, 0]), 3).tolist() == [[0, 0, 1], [1, 0, 0]]


def test_no_mistakes_no_maps(backbone):
    split_at = split_at_maps(bright_or_not(), "cut", backbone, "block5_conv1")
    none = heat_maps(split_at, np.zeros((0, 4, 4, 2), np.float32), np.array([], dtype=int))
    assert none.shape == (0, 4, 4)


def test_an_overlay_is_brightest_at_the_heat():
    heat = np.zeros((4, 4), dtype=np.float32)
    heat[0, 0] = 1
    picture = overlay(np.full((32, 48, 3), 100, dtype=np.uint8), heat)
    assert (picture.shape, picture.dtype) == ((32, 48, 3), np.uint8)
    assert picture[0, 0].sum() > picture[-1, -1].sum()
