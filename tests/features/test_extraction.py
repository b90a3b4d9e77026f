"""Rows from the store are the rows that would be computed, and only what is missing is computed."""

import hashlib
import shutil

import keras
import numpy as np
import pytest

from tests.helpers.augmentation import augment_params
from transfer.augmentation.views import AugmentationJobs, ViewRenderer
from transfer.augmentation.warp import AugmentParams, render_view
from transfer.backbones.conversion import convert
from transfer.backbones.keras_network import KerasNetwork, KerasNetworkOnCard
from transfer.backbones.litert_network import LiteRTNetwork
from transfer.engines.local import LocalWorkerPool
from transfer.features.extraction import (
    CleanImages,
    extract_features,
    in_another_thread,
    unchanged,
)
from transfer.features.frozen_network import ExtractParams, FrozenNetwork, FrozenPass
from transfer.runtime.errors import PipelineError
from transfer.storage.params import ArrayFormat

N = 30
FLOAT32, FLOAT16 = (
    ExtractParams(batch_size=64, dtype="float32"),
    ExtractParams(batch_size=64, dtype="float16"),
)
RANGES = augment_params(views=3)


class Counted:
    """ImageSource that note which rows are sent to be computed."""

    def __init__(self, pictures):
        self._pictures = pictures
        self.drawn = []

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, row: int) -> np.ndarray:
        self.drawn.append(int(row))
        return self._pictures[row]

    def key(self, row: int) -> bytes:
        return self._pictures.key(row)


def fails_at(image: np.ndarray):
    """Draws images as they are, but for this one."""

    def draw(sent: np.ndarray) -> np.ndarray:
        if np.array_equal(sent, image):
            raise RuntimeError("the power went out")
        return sent

    return draw


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (N + 10, 8, 8, 3), dtype=np.uint8)


@pytest.fixture(scope="module", params=["litert", "keras", "card"])
def frozen(request) -> FrozenNetwork:
    """The tiny network run by LiteRT, by Keras, and as if this CPU were a card: what the stages
    promise holds for all."""
    start = {"litert": on_litert, "keras": on_keras, "card": on_card}[request.param]
    return start(tiny_model(seed=0))


@pytest.fixture(autouse=True)
def _in_a_project(project, monkeypatch):
    monkeypatch.delenv("DVC_ROOT", raising=False)


def on_keras(model: keras.Model) -> KerasNetwork:
    return KerasNetwork(model)


def on_card(model: keras.Model) -> KerasNetworkOnCard:
    return KerasNetworkOnCard(model, batch_size=8)


def on_litert(model: keras.Model) -> LiteRTNetwork:
    content = convert(model)
    return LiteRTNetwork(content, identity=hashlib.sha256(content).digest())


def tiny_model(seed: int) -> keras.Model:
    # layers' numbers, which are in a converted network's bytes, begin anew as in a stage's process
    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)
    image = keras.Input((8, 8, 3))
    cut = keras.layers.Conv2D(4, 3, strides=2, activation="relu")(image)
    return keras.Model(image, [cut, keras.layers.AveragePooling2D(3)(cut)])


def cache(
    project, frozen, pictures, params=FLOAT32, gigabytes=1.0, leading=None, draw=unchanged
) -> tuple[bytes, bytes]:
    """The two files' bytes: features, activations at the cut."""
    files = project / "data/features", project / "data/cut"
    written = [file.with_suffix(".npy") for file in files]
    for file in written:
        file.unlink(missing_ok=True)
    checkpoint = project / ".checkpoints/augment/key"
    workers = LocalWorkerPool(FrozenPass(frozen, params.dtype, draw))
    extract_features(
        workers,
        pictures,
        leading or (len(pictures),),
        files,
        gigabytes,
        checkpoint,
        "augment.views",
        ArrayFormat(),
    )
    return tuple(file.read_bytes() for file in written)


def features_and_cut(project) -> tuple[np.ndarray, np.ndarray]:
    return np.load(project / "data/features.npy"), np.load(project / "data/cut.npy")


def assert_said(capsys, known: int, computed: int, source: str = ".rows") -> None:
    assert (
        f"features: {known} rows were known ({source}), {computed} were computed"
        in capsys.readouterr().out
    )


def test_the_files_hold_what_the_network_computes(project, frozen, images):
    cache(project, frozen, CleanImages(images), gigabytes=0)
    cut, features = tiny_model(seed=0).predict(images, verbose=0)
    for found, expected in zip(features_and_cut(project), (features, cut), strict=True):
        assert found.dtype == np.float32
        assert found.shape == expected.shape
        assert len(np.unique(found, axis=0)) == len(images), (
            "rows must differ, or a mixed-up order would not be seen"
        )
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-3)
    assert not (project / ".rows").exists()


def test_files_put_together_from_the_store_are_those_computed_without_it(
    project, frozen, images, capsys
):
    without = cache(project, frozen, CleanImages(images), gigabytes=0)
    assert_said(capsys, 0, len(images), ".checkpoints")
    assert cache(project, frozen, CleanImages(images)) == without
    assert_said(capsys, 0, len(images))
    pictures = Counted(CleanImages(images))
    assert cache(project, frozen, pictures) == without
    assert_said(capsys, len(images), 0)
    assert pictures.drawn == []


def test_new_images_only_are_computed(project, frozen, images, capsys):
    without = cache(project, frozen, CleanImages(images), gigabytes=0)
    cache(project, frozen, CleanImages(images[:N]))
    capsys.readouterr()
    pictures = Counted(CleanImages(images))
    assert cache(project, frozen, pictures) == without
    assert_said(capsys, N, 10)
    assert sorted(pictures.drawn) == list(range(N, N + 10))


def test_new_images_between_known_ones_are_computed_and_get_their_own_rows(
    project, frozen, images, capsys
):
    without = cache(project, frozen, CleanImages(images), gigabytes=0)
    new = np.arange(1, len(images), 4)
    cache(project, frozen, CleanImages(np.delete(images, new, axis=0)))
    capsys.readouterr()
    pictures = Counted(CleanImages(images))
    assert cache(project, frozen, pictures) == without
    assert sorted(pictures.drawn) == new.tolist()


@pytest.mark.parametrize(
    "order", [np.arange(N)[::-1], np.random.default_rng(1).permutation(N)[:17], np.array([5, 5, 2])]
)
def test_another_order_or_choice_of_images_computes_nothing(project, frozen, images, capsys, order):
    without = cache(project, frozen, CleanImages(images[order]), gigabytes=0)
    cache(project, frozen, CleanImages(images[:N]))
    capsys.readouterr()
    assert cache(project, frozen, CleanImages(images[order])) == without
    assert_said(capsys, len(order), 0)


def test_an_array_by_views_is_filled_view_after_view(project, frozen, images):
    views = AugmentationJobs(images[:5], RANGES)
    cache(project, frozen, views, leading=(3, 5), draw=ViewRenderer(RANGES))
    for found in features_and_cut(project):
        assert found.shape[:2] == (3, 5)
    features, cut = features_and_cut(project)
    one = np.stack([render_view(images[4], 2, RANGES)])
    expected = frozen(one)
    assert np.array_equal(cut[2, 4], expected[0][0])
    assert np.array_equal(features[2, 4], expected[1][0])


@pytest.mark.parametrize("on", [on_keras, on_litert])
def test_other_weights_compute_everything_again(project, images, capsys, on):
    cache(project, on(tiny_model(seed=0)), CleanImages(images))
    capsys.readouterr()
    cache(project, on(tiny_model(seed=1)), CleanImages(images))
    assert_said(capsys, 0, len(images))
    cache(project, on(tiny_model(seed=0)), CleanImages(images))
    assert_said(capsys, len(images), 0)


def test_another_storage_computes_everything_again(project, frozen, images, capsys):
    cache(project, frozen, CleanImages(images))
    capsys.readouterr()
    half = cache(project, frozen, CleanImages(images), FLOAT16)
    assert_said(capsys, 0, len(images))
    assert cache(project, frozen, CleanImages(images), FLOAT16) == half
    assert_said(capsys, len(images), 0)


@pytest.mark.parametrize("on", [on_keras, on_litert])
def test_a_network_is_known_by_every_weight_and_by_what_it_computes(on):
    one, same, other = tiny_model(seed=0), tiny_model(seed=0), tiny_model(seed=0)
    kernel, bias = other.get_weights()
    bias[-1] = np.nextafter(bias[-1], np.float32(1))
    other.set_weights([kernel, bias])
    image = keras.Input((8, 8, 3))
    preprocessed = keras.Model(image, one(image / 255.0))
    assert identity(on(one), FLOAT32) == identity(on(same), FLOAT32)
    networks = [on(model) for model in (one, other, preprocessed)]
    assert (
        len({identity(network, params) for network in networks for params in (FLOAT32, FLOAT16)})
        == 6
    )


def identity(network: FrozenNetwork, params: ExtractParams) -> bytes:
    return FrozenPass(network, params.dtype, unchanged).about.identity


def test_a_damaged_row_is_computed_again_and_shows_nowhere(project, frozen, images, capsys):
    without = cache(project, frozen, CleanImages(images))
    (rows,) = (project / ".rows").glob("*/*.rows")
    damaged = bytearray(rows.read_bytes())
    size = len(damaged) // len(images)
    damaged[7 * size + 3] ^= 1
    rows.write_bytes(damaged)
    capsys.readouterr()
    pictures = Counted(CleanImages(images))
    assert cache(project, frozen, pictures) == without
    assert pictures.drawn == [7]
    assert_said(capsys, len(images) - 1, 1)
    assert cache(project, frozen, CleanImages(images)) == without
    assert_said(capsys, len(images), 0)


def test_float16_halves_the_files_and_is_float32_rounded(project, frozen, images):
    whole = cache(project, frozen, CleanImages(images))
    rounded = [array.astype(np.float16) for array in features_and_cut(project)]
    half = cache(project, frozen, CleanImages(images), FLOAT16)
    header = 128
    assert [2 * (len(file) - header) for file in half] == [len(file) - header for file in whole]
    for found, expected in zip(features_and_cut(project), rounded, strict=True):
        assert found.dtype == np.float16
        assert np.array_equal(found, expected)


def scaled(factor: float) -> keras.Model:
    model = tiny_model(seed=0)
    model.set_weights([factor * weight for weight in model.get_weights()])
    return model


@pytest.mark.parametrize("stored", [1.0, 0.0])
def test_an_activation_that_float16_cannot_hold_is_refused(project, images, stored):
    network = on_keras(scaled(1000))
    with pytest.raises(
        PipelineError, match=r"an activation is \S+, beyond extract\.dtype = float16; use float32"
    ):
        cache(project, network, CleanImages(images), FLOAT16, gigabytes=stored)
    assert list((project / "data").iterdir()) == []
    cache(project, network, CleanImages(images))
    assert features_and_cut(project)[1].max() > 65504


def test_a_network_that_overflows_is_not_blamed_on_the_storage(project, images):
    network = on_keras(scaled(1e38))
    with pytest.raises(
        PipelineError,
        match=(
            r"computes infinite or undefined activations .*check the weights and compute\.precision"
        ),
    ):
        cache(project, network, CleanImages(images))
    assert list((project / "data").iterdir()) == []


@pytest.mark.parametrize(("gigabytes", "source"), [(1.0, ".rows"), (0, ".checkpoints")])
def test_a_run_that_was_killed_leaves_its_rows_and_no_array(
    project, frozen, images, capsys, gigabytes, source
):
    """Where no rows are kept for later runs, a checkpoint keeps them until this one has ended."""
    without = cache(project, frozen, CleanImages(images), gigabytes=0)
    shutil.rmtree(project / ".checkpoints")
    for file in (project / "data").iterdir():
        file.unlink()
    with pytest.raises(RuntimeError, match="the power went out"):
        cache(project, frozen, CleanImages(images), gigabytes=gigabytes, draw=fails_at(images[19]))
    assert list((project / "data").iterdir()) == []
    assert {path.name for path in project.iterdir()} == {"data", source}
    capsys.readouterr()
    pictures = Counted(CleanImages(images))
    assert cache(project, frozen, pictures, gigabytes=gigabytes) == without
    kept = 19 // frozen.batch_size * frozen.batch_size
    assert_said(capsys, kept, len(images) - kept, source)
    assert sorted(pictures.drawn) == list(range(kept, len(images)))


def test_views_come_in_order_and_are_drawn_alike_alone(images):
    views = AugmentationJobs(images[:4], RANGES)
    assert len(views) == 12
    for row in range(12):
        assert np.array_equal(
            ViewRenderer(RANGES)(views[row]), render_view(images[row % 4], row // 4, RANGES)
        )


def test_keys_of_views_differ_by_image_view_and_parameter(images):
    others = {
        "rotation": 10,
        "width_shift": 0.1,
        "height_shift": 0.1,
        "shear": 1,
        "zoom": 0.1,
        "horizontal_flip": False,
        "seed": 1,
    }
    assert {*others, "views"} == set(AugmentParams.model_fields)
    ranges = [RANGES, *(RANGES.model_copy(update={name: value}) for name, value in others.items())]
    keys = [AugmentationJobs(images[:2], each).key(row) for each in ranges for row in range(6)]
    keys += [CleanImages(images[:2]).key(row) for row in range(2)]
    assert len(set(keys)) == len(keys)


def test_keys_of_views_depend_on_neither_place_nor_number(images):
    few = AugmentationJobs(images[:3], RANGES)
    many = AugmentationJobs(images[2::-1], RANGES.model_copy(update={"views": 7}))
    for view in range(3):
        for image in range(3):
            assert few.key(view * 3 + image) == many.key(view * 3 + 2 - image)


def test_keys_of_views_change_with_the_warp_itself(images, monkeypatch):
    before = AugmentationJobs(images[:1], RANGES).key(0)
    monkeypatch.setattr(
        "transfer.augmentation.warp.apply_warp", lambda image, warp: image.astype(np.float32)
    )
    assert AugmentationJobs(images[:1], RANGES).key(0) != before


def test_calls_in_another_thread_keep_their_order_and_are_made_even_if_the_block_fails():
    made = []
    with (
        pytest.raises(RuntimeError, match="the power went out"),
        in_another_thread(made.append) as later,
    ):
        for number in range(20):
            later(number)
        raise RuntimeError("the power went out")
    assert made == [*range(20)]


def test_what_such_a_call_raises_is_raised_and_no_call_waits_for_ever():
    def refuse(number: int) -> None:
        raise OSError(f"no room for {number}")

    with pytest.raises(OSError, match="no room for 0"), in_another_thread(refuse) as later:
        later(0)
    with pytest.raises(OSError, match="no room for 0"), in_another_thread(refuse) as later:
        for number in range(100):
            later(number)
        pytest.fail("the error of the first call was not raised by a later one")
