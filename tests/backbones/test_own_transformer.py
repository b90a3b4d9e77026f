"""A transformer for images in a model file of the user's as the backbone."""

from pathlib import Path

import keras
import numpy as np
import pytest

from stages.weights import main
from tests.backbones.builders import error_of
from tests.backbones.transformers import N_PATCHES, SIDE, WIDTH, plain
from tests.helpers.backbones import backbone_params
from tests.helpers.tiny_pipeline import run_every_stage
from transfer.backbones.conversion import TOLERANCE, to_litert
from transfer.backbones.litert_network import OUTPUTS
from transfer.backbones.network import (
    build_preprocessing,
    freeze_below,
    load_backbone,
    trainable_tail,
    with_preprocessing,
)
from transfer.backbones.own_graph import without_top
from transfer.backbones.registry import LAYERS, BackboneParams
from transfer.compute.litert import InterpreterPool
from transfer.runtime.checksums import file_checksum

IMAGES = np.random.default_rng(0).integers(0, 256, (2, SIDE, SIDE, 3)).astype(np.float32)


@pytest.fixture
def own(set_params, tmp_path):
    """Returns how to save a model, to name its file as the backbone and to run the stage."""

    def save(model: keras.Model) -> Path:
        path = tmp_path / "mine.keras"
        model.save(path)
        set_params(str(path), sha256=file_checksum(path))
        main()
        return path

    return save


def params_of(path: Path, **changes) -> BackboneParams:
    return backbone_params(path, **{"image_size": SIDE, "preprocessing": "none"} | changes)


def tokens_of(model: keras.Model) -> np.ndarray:
    """What the model's last tokens are for IMAGES, (N, T, C)."""
    tokens = model.get_layer("last_tokens").output
    return keras.Model(model.input, tokens).predict_on_batch(IMAGES)


def test_features_are_the_mean_of_the_tokens_and_the_cut_is_in_front_of_the_last_block(own):
    keras.utils.set_random_seed(3)
    model = plain(n_blocks=2)
    path = own(model)
    path.unlink()  # the stage's outputs alone are needed from here on
    params = params_of(path)
    backbone = load_backbone(params)
    at_cut, features = with_preprocessing(backbone, params).predict_on_batch(IMAGES)
    expected = tokens_of(model).mean(axis=1)
    np.testing.assert_allclose(features[:, 0, 0], expected, atol=1e-5 * np.abs(expected).max())
    assert at_cut.shape == (2, N_PATCHES, 1, WIDTH)
    tail = trainable_tail(backbone, params.unfreeze_from)
    np.testing.assert_allclose(tail.predict_on_batch(at_cut), features, rtol=1e-5, atol=1e-6)
    freeze_below(backbone, params.unfreeze_from)
    trained = {layer.name for layer in backbone.layers if layer.trainable_weights}
    assert trained == {layer.name for layer in tail.layers if layer.weights}
    names = [layer.name for layer in tail.layers if layer.weights]
    # the layer after that begins the block too; one that is bypassed does not
    same = trainable_tail(backbone, names[0])
    assert [layer.name for layer in same.layers[1:]] == [layer.name for layer in tail.layers[1:]]
    assert f"the nearest suitable layer is {names[0]}" in error_of(
        lambda: trainable_tail(backbone, names[1])
    )
    assert "preprocessing = 'imagenet': " + str(path) in error_of(
        lambda: build_preprocessing(params_of(path, preprocessing="imagenet"))
    )


def test_a_token_in_front_of_the_patches_stands_beside_their_mean():
    model = plain(n_blocks=1, token=True)
    tokens = tokens_of(model)
    expected = np.concatenate([tokens[:, 0], tokens[:, 1:].mean(axis=1)], axis=-1)
    features = without_top(model, "mine").predict_on_batch(IMAGES)
    np.testing.assert_allclose(features[:, 0, 0], expected, atol=1e-5 * np.abs(expected).max())


def test_blocks_without_attention_are_found_by_the_paths_around_them():
    model = plain(n_blocks=1, mixer=True)
    backbone = without_top(model, "mine")
    features = backbone.predict_on_batch(IMAGES)
    expected = tokens_of(model).mean(axis=1)
    np.testing.assert_allclose(features[:, 0, 0], expected, atol=1e-5 * np.abs(expected).max())
    # what goes across the tokens, and what goes across the channels
    tails = [trainable_tail(backbone, name) for name in ("block_0", "last_block")]
    assert len(tails[0].layers) > len(tails[1].layers)


def test_attention_that_pools_the_tokens_is_left_off():
    model = plain(n_blocks=1, pooled=True)
    backbone = without_top(model, "mine")
    expected = tokens_of(model).mean(axis=1)
    features = backbone.predict_on_batch(IMAGES)
    np.testing.assert_allclose(features[:, 0, 0], expected, atol=1e-5 * np.abs(expected).max())
    assert trainable_tail(backbone, "last_block").weights


def of_odd_patches() -> keras.Model:
    pixels = keras.Input((SIDE, SIDE, 3))
    tokens = keras.layers.Reshape((64, 48))(pixels)
    tokens = keras.layers.Conv1D(8, 2, strides=2, name="grid")(tokens)
    tokens = keras.layers.Cropping1D((0, 1))(tokens)
    return keras.Model(pixels, keras.layers.MultiHeadAttention(1, 8)(tokens, tokens))


def named(name: str) -> keras.Model:
    pixels = keras.Input((SIDE, SIDE, 3))
    grid = keras.layers.Conv2D(8, 8, strides=8, name=name)(pixels)
    tokens = keras.layers.Reshape((16, 8))(grid)
    return keras.Model(pixels, keras.layers.MultiHeadAttention(1, 8)(tokens, tokens))


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: plain(n_blocks=1, side=None), "build and save it for one size"),
        (of_odd_patches, "its 31 tokens are not those of a square of patches"),
        (lambda: named("grid"), "The pipeline adds a layer of that name"),
        (lambda: named("head"), "a layer of it is called 'head'"),
    ],
)
def test_a_transformer_that_cannot_be_cut_says_what_to_do(build, words):
    message = error_of(lambda: without_top(build(), "backbone.name = 'mine.keras'"))
    assert message.startswith("backbone.name = 'mine.keras': ") and words in message


def test_a_model_without_blocks_says_which_layers_can_be_named():
    pixels = keras.Input((SIDE, SIDE, 3))
    first = keras.layers.Conv2D(2, 3, name="first")(pixels)
    second = keras.layers.Conv2D(2, 1, name="second")(first)
    third = keras.layers.Conv2D(2, 1, name="third")(second)
    both = keras.layers.Add(name="both")([first, third])
    last = keras.layers.Conv2D(2, 3, name="last")(both)
    backbone = without_top(keras.Model(pixels, last), "mine")
    message = error_of(lambda: trainable_tail(backbone, "last_block"))
    assert "backbone.unfreeze_from = 'last_block', which null stands for" in message
    assert "name the layer where fine-tuning starts, one of first, second, last" in message


@pytest.mark.slow
@pytest.mark.parametrize("unfreeze_from", ["patches", "block_0", "block_1", "last_block"])
@pytest.mark.parametrize("token", [False, True])
def test_litert_computes_the_same_wherever_it_is_cut(token, unfreeze_from, own):
    params = params_of(own(plain(token=token)), unfreeze_from=unfreeze_from)
    frozen = with_preprocessing(load_backbone(params), params, with_maps=True)
    computed = InterpreterPool(to_litert(frozen, OUTPUTS), OUTPUTS).run(list(IMAGES))
    for ours, expected in zip(computed, frozen.predict_on_batch(IMAGES), strict=True):
        assert np.abs(ours - expected).max() <= TOLERANCE * np.abs(expected).max()
    assert frozen.output_shape[2][1:3] == (4, 4)


@pytest.mark.slow
def test_every_stage_runs_with_it_and_predict_answers(tmp_path, project):
    path = tmp_path / "mine.keras"
    plain().save(path)
    run_every_stage(project, str(path), file_checksum(path), image_size=SIDE, preprocessing="none")
    assert (project / LAYERS).exists()
