"""A model file of the user's as the backbone."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest

from stages.weights import main
from tests.backbones.builders import error_of
from tests.helpers.backbones import backbone_params
from transfer.backbones.network import (
    build_backbone,
    load_backbone,
    trainable_tail,
    with_preprocessing,
)
from transfer.backbones.registry import LAYERS, BackboneParams
from transfer.runtime.checksums import file_checksum


def plain() -> keras.Model:
    """A Sequential classifier: convolutions, pooling, a dense top."""
    layers = [
        keras.layers.Rescaling(1 / 255),
        keras.layers.Conv2D(4, 3, name="first"),
        keras.layers.MaxPooling2D(name="pool"),
        keras.layers.Conv2D(6, 3, activation="relu", name="second"),
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(3),
    ]
    return keras.Sequential([keras.Input((32, 32, 3)), *layers])


def nested() -> keras.Model:
    """As Keras's guide builds them: augmentation, a division, a base within the model,
    a dense top."""
    images = keras.Input((32, 32, 3))
    x = keras.Sequential([keras.layers.RandomFlip()])(images) / 255.0
    pixels = keras.Input((None, None, 3))
    inner = keras.layers.Conv2D(4, 3, name="first")(pixels)
    branch = keras.layers.Conv2D(4, 3, padding="same", name="branch")(inner)
    inner = keras.layers.Add(name="both")([inner, branch])
    base = keras.Model(pixels, keras.layers.Conv2D(6, 3, name="second")(inner), name="base")
    return keras.Model(
        images, keras.layers.Dense(3)(keras.layers.Flatten()(base(x, training=False)))
    )


def activations_of(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """What the model's last convolution gives, computed layer by layer."""
    if isinstance(model, keras.Sequential):
        for layer in model.layers[:4]:
            images = layer(images)
        return np.asarray(images)
    return np.asarray(model.get_layer("base")(images / 255.0))


@pytest.fixture
def own(set_params, tmp_path):
    """Returns how to save a model and to name its file as the backbone."""

    def save(model: keras.Model, **weights) -> Path:
        path = tmp_path / "mine.keras"
        model.save(path)
        set_params(str(path), **{"sha256": file_checksum(path)} | weights)
        return path

    return save


def params_of(path: Path, **changes) -> BackboneParams:
    values = {"image_size": 32, "preprocessing": "none", "unfreeze_from": "second"}
    return backbone_params(path, **values | changes)


@pytest.mark.parametrize("build", [plain, nested])
def test_a_model_file_becomes_the_backbone_with_its_weights(build, own):
    keras.utils.set_random_seed(3)
    model = build()
    path = own(model)
    main()
    path.unlink()  # the stage's outputs alone are needed from here on
    params = params_of(path)
    backbone = load_backbone(params)
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(np.float32)
    at_cut, features = with_preprocessing(backbone, params).predict_on_batch(images)
    np.testing.assert_allclose(features, activations_of(model, images), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        trainable_tail(backbone, "second").predict_on_batch(at_cut), features, rtol=1e-5, atol=1e-6
    )
    assert features.shape[-1] == 6


def test_a_model_without_a_fixed_size_takes_the_users(own):
    pixels = keras.Input((None, None, 3))
    path = own(
        keras.Model(
            pixels, keras.layers.Conv2D(6, 3, name="second")(keras.layers.Conv2D(4, 3)(pixels))
        )
    )
    main()
    assert load_backbone(params_of(path, image_size=40)).output_shape == (None, 36, 36, 6)


def test_random_weights_of_an_own_model_are_others(own):
    model = plain()
    path = own(model, source="random")
    main()
    backbone = load_backbone(params_of(path))
    assert not np.array_equal(
        backbone.get_layer("first").get_weights()[0], model.get_layer("first").get_weights()[0]
    )


def test_networks_of_the_table_leave_no_model_and_a_table_of_layers(set_params):
    set_params("VGG16", source="random")
    main()
    recorded = json.loads(LAYERS.read_text())
    assert (recorded["name"], recorded["model"]) == ("VGG16", None)
    assert recorded["layers"][1] == {"name": "block1_conv1", "type": "Conv2D", "parameters": 1792}


def test_layers_that_are_not_there_or_do_not_fit_say_so(own):
    path = own(plain())
    message = error_of(lambda: build_backbone(str(path), 32))
    assert f"{LAYERS} is missing" in message and "dvc repro weights" in message
    main()
    assert "cannot be built for images of 4 pixels (backbone.image_size)" in error_of(
        lambda: build_backbone(str(path), 4)
    )
    LAYERS.write_text("{")
    assert "no model of your own" in error_of(lambda: build_backbone(str(path), 32))


@keras.saving.register_keras_serializable("tests")
class Doubling(keras.layers.Layer):
    """A layer with code of its own."""

    def call(self, x):
        return 2 * x


def with_code() -> keras.Model:
    pixels = keras.Input((32, 32, 3))
    return keras.Model(
        pixels,
        keras.layers.Lambda(lambda x: x + 1, name="plus_one")(keras.layers.Conv2D(2, 3)(pixels)),
    )


def with_a_class() -> keras.Model:
    pixels = keras.Input((32, 32, 3))
    return keras.Model(pixels, Doubling(name="twice")(keras.layers.Conv2D(2, 3)(pixels)))


def of_numbers() -> keras.Model:
    return keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)])


def without_pictures() -> keras.Model:
    return keras.Sequential(
        [keras.Input((32, 32, 3)), keras.layers.Flatten(), keras.layers.Dense(2)]
    )


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (with_code, "the layer 'plus_one' has Python code in the file (a Lambda), and code from"),
        (with_a_class, "the layer 'twice' is or uses tests>Doubling, whose code is neither in"),
        (of_numbers, "one RGB picture"),
        (without_pictures, "no layer of it gives"),
    ],
)
def test_a_model_that_cannot_serve_says_why(build, words, own):
    path = own(build())
    message = error_of(main)
    assert f"backbone.name = '{path}'" in message and words in message
    assert not LAYERS.exists()


def test_a_file_that_is_none_or_another_says_so(own, set_params):
    path = own(plain(), sha256=None)
    assert f"give the file's checksum too, weights.sha256: {file_checksum(path)}" in error_of(main)
    own(plain(), sha256="0" * 64)
    assert "but weights.sha256 = 0000" in error_of(main)
    path.write_bytes(b"no model")
    set_params(str(path), sha256=file_checksum(path))
    assert "Keras cannot read it" in error_of(main)
    path.unlink()
    assert "no such file" in error_of(main)


@pytest.mark.parametrize("weights", [{"path": "other.h5"}, {"compare": True}])
def test_weights_in_addition_to_a_model_of_the_user_are_refused(weights, own):
    own(plain(), **weights)
    assert "brings its own weights; set weights.path: null and weights.compare: false" in error_of(
        main
    )
