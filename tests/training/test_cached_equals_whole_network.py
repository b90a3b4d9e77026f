"""Training from the cache is training through the whole network:
an identity, not an approximation."""

import keras
import numpy as np
import pytest

from tests.helpers.augmentation import augment_params
from tests.helpers.backbones import backbone_params
from tests.helpers.tiny_sources import TRAINING
from transfer.augmentation.views import AugmentationJobs, ViewRenderer
from transfer.backbones.conversion import convert
from transfer.backbones.litert_network import LiteRTNetwork
from transfer.backbones.network import (
    build_backbone,
    build_preprocessing,
    cut_tensor,
    freeze_below,
    trainable_tail,
    with_preprocessing,
)
from transfer.backbones.registry import ARCHITECTURES
from transfer.classifiers.head import build_head
from transfer.dataset.examples import Examples
from transfer.training.loop import TrainingParams, compile_classifier, fit

N_TRAIN, N_VALIDATION, VIEWS, EPOCHS = 10, 6, 2, 3
RANGES = augment_params(views=VIEWS)


def training_params(learning_rate: float) -> TrainingParams:
    return TrainingParams(
        **TRAINING
        | {"epochs": EPOCHS, "learning_rate": learning_rate, "class_weight": "balanced", "seed": 3}
    )


@pytest.fixture(
    scope="module",
    params=[
        name if name == "VGG16" else pytest.param(name, marks=pytest.mark.slow)
        for name in ARCHITECTURES
    ],
)
def world(request):
    """Images of two classes, their augmented views, a random backbone, and everything that the
    stages would cache."""
    architecture = backbone_params(request.param, image_size=ARCHITECTURES[request.param].smallest)
    size = architecture.image_size
    rng = np.random.default_rng(0)
    labels = np.arange(N_TRAIN) % 2
    validation_labels = np.arange(N_VALIDATION) % 2
    images = rng.integers(0, 256, (N_TRAIN, size, size, 3), dtype=np.uint8)
    images[labels == 1, :, :, 0] //= 4
    validation_images = rng.integers(0, 256, (N_VALIDATION, size, size, 3), dtype=np.uint8)
    frozen = LiteRTNetwork(
        convert(with_preprocessing(new_backbone(architecture), architecture)), identity=b""
    )
    sent = AugmentationJobs(images, RANGES)
    views = np.stack([ViewRenderer(RANGES)(sent[row]) for row in range(len(sent))])
    cut, features = frozen(views)
    validation_cut, validation_features = frozen(validation_images)
    by_view = [array.reshape(VIEWS, N_TRAIN, *array.shape[1:]) for array in (views, cut, features)]
    return {
        "architecture": architecture,
        "labels": labels,
        "views": dict(zip(("images", "cut", "features"), by_view, strict=True)),
        "validation": {
            "images": Examples(validation_images.astype(np.float32), validation_labels),
            "cut": Examples(validation_cut, validation_labels),
            "features": Examples(validation_features, validation_labels),
        },
    }


def new_backbone(architecture):
    """With the same random weights each time, and the same seeds of its dropout layers."""
    keras.utils.set_random_seed(0)
    backbone = build_backbone(architecture.name, architecture.image_size)
    # EfficientNetV2 draws other initial weights the second time in a process
    rng = np.random.default_rng(0)
    for layer in backbone.layers:
        if not isinstance(layer, keras.layers.BatchNormalization | keras.layers.Normalization):
            shapes = [value.shape for value in layer.get_weights()]
            layer.set_weights(
                [
                    rng.normal(
                        scale=(2 / np.prod(shape[:-1])) ** 0.5 if len(shape) > 1 else 0.1,
                        size=shape,
                    )
                    for shape in shapes
                ]
            )
    return backbone


def train(model, world, input_kind, learning_rate):
    params = training_params(learning_rate)
    compile_classifier(model, params)
    views = world["views"][input_kind]
    return fit(
        model,
        lambda epoch: views[epoch % VIEWS],
        world["labels"],
        world["validation"][input_kind],
        params,
    )


def new_head(shape):
    keras.utils.set_random_seed(1)
    return build_head(shape, units=16, dropout=0, normalize=True, n_classes=2)


def assert_same(cached, whole):
    assert cached.epoch == whole.epoch == EPOCHS
    np.testing.assert_allclose(
        cached.history.to_numpy(), whole.history.to_numpy(), rtol=1e-4, atol=1e-5
    )


def assert_weights_close(one, other, before):
    changed = [not np.array_equal(a, start) for a, start in zip(one, before, strict=True)]
    assert np.mean(changed) > 0.9, (
        "the weights must have been trained; a few may lie behind rectifiers that stay at 0"
    )
    for a, b, start in zip(one, other, before, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=2e-3 * np.abs(a - start).max())


def at_inference(base):
    """A frozen model within a trained one, its dropout off; Keras 3.15 ignores
    `base(x, training=False)` where the whole is trained."""
    return keras.layers.Lambda(lambda images: base(images, training=False))


def assert_equal_arrays(some, others):
    assert len(some) == len(others)
    assert all(np.array_equal(a, b) for a, b in zip(some, others, strict=True))


def test_the_augmented_head_from_cached_views_equals_training_through_the_frozen_network(world):
    architecture, shape = world["architecture"], world["views"]["features"].shape[2:]
    cached_head, whole_head = new_head(shape), new_head(shape)
    before = cached_head.get_weights()
    cached = train(cached_head, world, "features", 1e-3)
    backbone = new_backbone(architecture)
    frozen_weights = backbone.get_weights()
    freeze_below(backbone, None)
    images = keras.Input((architecture.image_size, architecture.image_size, 3))
    features = at_inference(backbone)(build_preprocessing(architecture)(images))
    whole = train(keras.Model(images, whole_head(features)), world, "images", 1e-3)
    assert_same(cached, whole)
    assert_weights_close(cached_head.get_weights(), whole_head.get_weights(), before)
    assert_equal_arrays(backbone.get_weights(), frozen_weights)


def test_fine_tuning_from_the_cut_equals_fine_tuning_through_the_whole_network(world):
    architecture, shape = world["architecture"], world["views"]["features"].shape[2:]
    cached_head, whole_head = new_head(shape), new_head(shape)
    backbone = new_backbone(architecture)
    tail = trainable_tail(backbone, architecture.unfreeze_from)
    freeze_below(backbone, architecture.unfreeze_from)
    trained = [*tail.trainable_variables, *cached_head.trainable_variables]
    before = [variable.numpy() for variable in trained]
    cached = train(keras.Model(tail.input, cached_head(tail.output)), world, "cut", 1e-4)

    whole_backbone = new_backbone(architecture)
    freeze_below(whole_backbone, architecture.unfreeze_from)
    images = keras.Input((architecture.image_size, architecture.image_size, 3))
    base = keras.Model(whole_backbone.input, cut_tensor(whole_backbone, architecture.unfreeze_from))
    at_cut = at_inference(base)(build_preprocessing(architecture)(images))
    logits = whole_head(trainable_tail(whole_backbone, architecture.unfreeze_from)(at_cut))
    frozen_weights = [variable.numpy() for variable in base.variables]
    whole = train(keras.Model(images, logits), world, "images", 1e-4)
    assert_same(cached, whole)
    trained_whole = [
        *trainable_tail(whole_backbone, architecture.unfreeze_from).trainable_variables,
        *whole_head.trainable_variables,
    ]
    assert_weights_close(
        [variable.numpy() for variable in trained],
        [variable.numpy() for variable in trained_whole],
        before,
    )
    assert_equal_arrays([variable.numpy() for variable in base.variables], frozen_weights)
    assert_equal_arrays(statistics_of(whole_backbone), statistics_of(new_backbone(architecture)))


def statistics_of(backbone):
    """The moving means and variances of all BatchNormalization layers: those of the trained part
    stay too."""
    return [
        weight
        for layer in backbone.layers
        if isinstance(layer, keras.layers.BatchNormalization)
        for weight in layer.get_weights()
    ]
