"""Training from the cache is training through the whole network: an identity, not an approximation."""

import keras
import numpy as np
import pytest

from stages.augment import AugmentParams, Views
from transfer.backbone import BackboneParams, build_backbone, freeze_below, stitch, trainable_tail, with_preprocessing
from transfer.compute import CPU_BATCH, frozen_pass
from transfer.examples import Examples
from transfer.head import build_head
from transfer.training import TrainingParams, compile_classifier, fit

ARCHITECTURE = BackboneParams(name="VGG16", image_size=32, preprocessing="imagenet", unfreeze_from="block5_conv1")
N_TRAIN, N_VALIDATION, VIEWS, EPOCHS = 10, 6, 2, 3
RANGES = AugmentParams(views=VIEWS, rotation=40, width_shift=0.2, height_shift=0.2, shear=11.5, zoom=0.2, horizontal_flip=True, seed=0)


def training_params(learning_rate: float) -> TrainingParams:
    return TrainingParams(
        epochs=EPOCHS, batch_size=4, learning_rate=learning_rate, patience=None, keep="last", class_weight="balanced", seed=3
    )


def pass_all(frozen: keras.Model, images) -> list[np.ndarray]:
    """The frozen model's outputs for all images, in their order."""
    rows, outputs = zip(*frozen_pass(frozen, images, np.arange(len(images)), 1), strict=True)
    assert np.concatenate(rows).tolist() == list(range(len(images)))
    return [np.concatenate(parts) for parts in zip(*outputs, strict=True)]


@pytest.fixture(scope="module")
def world():
    """Images of two classes, their augmented views, a random backbone, and everything that the stages would cache."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    labels = np.arange(N_TRAIN) % 2
    validation_labels = np.arange(N_VALIDATION) % 2
    images = rng.integers(0, 256, (N_TRAIN, 32, 32, 3), dtype=np.uint8)
    images[labels == 1, :, :, 0] //= 4
    validation_images = rng.integers(0, 256, (N_VALIDATION, 32, 32, 3), dtype=np.uint8)
    backbone = build_backbone(ARCHITECTURE.name, ARCHITECTURE.image_size)
    frozen = with_preprocessing(backbone, ARCHITECTURE)
    drawn = Views(images, RANGES)
    views = np.stack([drawn[row] for row in range(len(drawn))])
    cut, features = pass_all(frozen, drawn)
    validation_cut, validation_features = pass_all(frozen, validation_images)
    by_view = [array.reshape(VIEWS, N_TRAIN, *array.shape[1:]) for array in (views, cut, features)]
    return {
        "backbone": backbone,
        "weights": backbone.get_weights(),
        "labels": labels,
        "views": dict(zip(("images", "cut", "features"), by_view, strict=True)),
        "validation": {
            "images": Examples(validation_images.astype(np.float32), validation_labels),
            "cut": Examples(validation_cut, validation_labels),
            "features": Examples(validation_features, validation_labels),
        },
    }


def train(model, world, takes, learning_rate):
    compile_classifier(model, learning_rate)
    views = world["views"][takes]
    return fit(model, lambda epoch: views[epoch % VIEWS], world["labels"], world["validation"][takes], training_params(learning_rate))


def new_head(shape):
    keras.utils.set_random_seed(1)
    return build_head(shape, units=16, dropout=0, normalize=True, n_classes=2)


def assert_same(cached, whole):
    assert cached.epoch == whole.epoch == EPOCHS
    np.testing.assert_allclose(cached.history.to_numpy(), whole.history.to_numpy(), rtol=1e-4, atol=1e-5)


def assert_weights_close(one, other, before):
    for a, b, start in zip(one, other, before, strict=True):
        assert not np.array_equal(a, start), "the weights must have been trained"
        np.testing.assert_allclose(a, b, rtol=0, atol=2e-3 * np.abs(a - start).max())


def test_the_augmented_head_from_cached_views_equals_training_through_the_frozen_network(world):
    backbone = world["backbone"]
    shape = world["views"]["features"].shape[2:]
    cached_head, whole_head = new_head(shape), new_head(shape)
    before = cached_head.get_weights()
    cached = train(cached_head, world, "features", 1e-3)
    freeze_below(backbone, None)
    whole = train(stitch(backbone, whole_head, ARCHITECTURE), world, "images", 1e-3)
    assert_same(cached, whole)
    assert_weights_close(cached_head.get_weights(), whole_head.get_weights(), before)
    assert all(np.array_equal(a, b) for a, b in zip(backbone.get_weights(), world["weights"], strict=True))


def test_fine_tuning_from_the_cut_equals_fine_tuning_through_the_whole_network(world):
    backbone = world["backbone"]
    shape = world["views"]["features"].shape[2:]
    backbone.set_weights(world["weights"])
    cached_head = new_head(shape)
    tail = trainable_tail(backbone, ARCHITECTURE.unfreeze_from)
    freeze_below(backbone, ARCHITECTURE.unfreeze_from)
    before = [*tail.get_weights(), *cached_head.get_weights()]
    model = keras.Model(tail.input, cached_head(tail.output))
    cached = train(model, world, "cut", 1e-4)
    from_cache = [*tail.get_weights(), *cached_head.get_weights()]

    backbone.set_weights(world["weights"])
    whole_head = new_head(shape)
    freeze_below(backbone, ARCHITECTURE.unfreeze_from)
    whole = train(stitch(backbone, whole_head, ARCHITECTURE), world, "images", 1e-4)
    assert_same(cached, whole)
    assert_weights_close(from_cache, [*tail.get_weights(), *whole_head.get_weights()], before)
    n_frozen = len(backbone.non_trainable_weights)
    assert n_frozen == 20
    assert all(np.array_equal(a, b) for a, b in zip(backbone.get_weights()[:n_frozen], world["weights"], strict=False))


@pytest.mark.parametrize("size", [32, 64])
def test_a_row_depends_on_its_image_only(size):
    """Whatever the neighbours, the place in the batch, the number of images: the same bytes."""
    keras.utils.set_random_seed(0)
    architecture = ARCHITECTURE.model_copy(update={"image_size": size})
    frozen = with_preprocessing(build_backbone("VGG16", size), architecture)
    images = np.random.default_rng(1).integers(0, 256, (2 * CPU_BATCH + 5, size, size, 3), dtype=np.uint8)

    everything = pass_all(frozen, images)
    for chosen in (np.random.default_rng(5).permutation(len(images)), np.arange(len(images))[::-1], np.array([3]), np.array([7, 7, 1])):
        (passed, picked) = zip(*frozen_pass(frozen, images, chosen, 64), strict=True)
        assert np.concatenate(passed).tolist() == chosen.tolist()
        for whole, part, place in zip(
            everything, map(np.concatenate, zip(*picked, strict=True)), pass_all(frozen, images[chosen]), strict=True
        ):
            assert np.array_equal(whole[chosen], part), "other rows of the same images"
            assert np.array_equal(whole[chosen], place), "the same images in other places"
