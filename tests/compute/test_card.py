"""Batches on a card: how large they are, and what happens where its memory is full. The card is
this machine's CPU, or a fake whose memory holds so many images.

`make test-backends` runs it under JAX and PyTorch.
"""

import importlib.util
import threading
from collections.abc import Callable
from contextlib import suppress

import keras
import numpy as np
import pytest

from transfer.backbones.keras_network import KerasNetworkOnCard
from transfer.compute import card
from transfer.compute.card import (
    IN_FLIGHT,
    MOST_IMAGES,
    UNKNOWN_CARD,
    CardPass,
    build_batch_pass,
    choose_batch_size,
    free_memory,
    image_bytes,
    is_out_of_memory,
    row_bytes,
)
from transfer.runtime.cores import map_in_order
from transfer.runtime.errors import PipelineError

SHAPE = (8, 8, 3)
GIB = 2**30
MIB = 2**20


def tensorflow_error() -> Exception:
    import tensorflow as tf

    return tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")


def jax_error() -> Exception:
    import jax

    return jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate")


def torch_error() -> Exception:
    import torch

    return torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


ERRORS = {"tensorflow": tensorflow_error, "jax": jax_error, "torch": torch_error}
OTHERS = {
    name: [
        pytest.mark.slow,
        pytest.mark.skipif(
            importlib.util.find_spec(name) is None, reason=f"needs {name}: make test-backends"
        ),
    ]
    for name in ("jax", "torch")
}


class FullCard:
    """Gives each image's sum; its memory holds so many images at a time, those of all calls
    together."""

    def __init__(self, memory: int, error: Callable[[], Exception]):
        self._memory, self._error = memory, error
        self._lock, self._taken = threading.Lock(), 0
        self.sizes = []
        self.others = threading.Barrier(1)  # of the calls that have to meet before one ends

    def __call__(self, images: np.ndarray) -> list[np.ndarray]:
        with self._lock:
            self._taken += len(images)
            fits = self._taken <= self._memory
            self.sizes.append(len(images))
        try:
            if not fits:
                self.others.abort()
                raise self._error()
            self._wait_for_others()
            return [images.sum(axis=(1, 2, 3), dtype=np.float32)]
        finally:
            with self._lock:
                self._taken -= len(images)

    def _wait_for_others(self) -> None:
        with suppress(threading.BrokenBarrierError):  # the memory was full: nobody waits any more
            self.others.wait(timeout=60)


@pytest.fixture
def error() -> Callable[[], Exception]:
    """What this process's backend raises."""
    return ERRORS[keras.config.backend()]


def images(count: int) -> list[np.ndarray]:
    return [*np.random.default_rng(1).integers(0, 256, (count, *SHAPE), dtype=np.uint8)]


def sums(pictures: list[np.ndarray]) -> np.ndarray:
    return np.array([picture.sum() for picture in pictures], np.float32)


@pytest.mark.parametrize(
    ("free", "image", "row", "expected"),
    [
        (None, 4 * MIB, 52_000, UNKNOWN_CARD),
        (60 * GIB, 4 * MIB, 52_000, MOST_IMAGES),
        (6 * GIB, 4 * MIB, 52_000, 256),
        (6 * GIB - 1, 4 * MIB, 52_000, 128),
        (60 * GIB, 51 * MIB, 650_000, 64),
        (1000, 4 * MIB, 52_000, 1),
        (0, 4 * MIB, 2**30, 1),
    ],
)
def test_the_batch_follows_the_free_memory(free, image, row, expected):
    assert choose_batch_size(free, image, row) == expected


def test_the_chosen_batches_fit_together_and_are_powers_of_two():
    for megabytes in range(1, 4000, 37):
        size = choose_batch_size(megabytes * MIB, 3 * MIB, 40_000)
        assert size & (size - 1) == 0
        assert size == 1 or size * IN_FLIGHT * 3 <= megabytes / 2


def test_bytes_of_an_image_count_the_largest_tensor_of_all_layers():
    inner = keras.Sequential([keras.Input(SHAPE), keras.layers.Conv2D(100, 3, padding="same")])
    image = keras.Input(SHAPE)
    outputs = [keras.layers.Flatten()(image), keras.layers.MaxPooling2D(8)(inner(image))]
    network = keras.Model(image, outputs)
    assert row_bytes(network) == 4 * (192 + 192 + 100)
    assert image_bytes(network) == 4 * 4 * 8 * 8 * 100 + row_bytes(network)


@pytest.mark.parametrize(
    "backend", [pytest.param(name, marks=OTHERS.get(name, ())) for name in ERRORS]
)
def test_each_backends_word_for_a_full_memory_is_known(backend, monkeypatch):
    full = ERRORS[backend]()
    monkeypatch.setattr(keras.config, "backend", lambda: backend)
    assert is_out_of_memory(full)
    assert not is_out_of_memory(RuntimeError("INVALID_ARGUMENT: shapes differ"))
    assert not is_out_of_memory(ValueError("out of range"))


def test_a_batch_that_is_too_large_is_halved_before_the_first_image(error, capsys):
    run = FullCard(10, error)
    network = CardPass(run, SHAPE, 64)
    assert network.batch_size == 8
    said = capsys.readouterr().out
    assert "the card's memory does not hold a batch of 64 images" in said
    assert "set extract.batch_size to 8" in said
    pictures = images(19)
    run.sizes.clear()
    assert np.array_equal(network(pictures)[0], sums(pictures))
    assert run.sizes == [8, 8, 8], "the last one is filled up, so that all are computed alike"
    assert capsys.readouterr().out == ""


def test_batches_that_fit_alone_only_are_computed_alone_with_their_size(error, capsys):
    """So that what else is on the card changes no byte."""
    run = FullCard(10, error)
    network = CardPass(run, SHAPE, 8)
    run.others = threading.Barrier(2)
    pictures = images(80)
    parts = [pictures[start : start + 8] for start in range(0, 80, 8)]
    found = [*map_in_order(network, parts, workers=3)]
    assert np.array_equal(np.concatenate([part for (part,) in found]), sums(pictures))
    assert network.batch_size == 8
    assert set(run.sizes) == {8}
    said = capsys.readouterr().out
    assert said.count("holds one batch of 8 images at a time") == 1
    assert "does not hold" not in said


def test_memory_that_is_taken_meanwhile_halves_the_rest(error, capsys):
    run = FullCard(8, error)
    network = CardPass(run, SHAPE, 8)
    pictures = images(20)
    assert np.array_equal(network(pictures[:8])[0], sums(pictures[:8]))
    run._memory = 2
    parts = [pictures[8:14], pictures[14:]]
    found = np.concatenate([part for (part,) in map_in_order(network, parts, workers=2)])
    assert np.array_equal(found, sums(pictures[8:]))
    assert network.batch_size == 2
    said = capsys.readouterr().out
    assert said.count("a batch of 8 images") == said.count("a batch of 4 images") == 1


def test_a_card_that_does_not_hold_one_image_ends_in_a_sentence(error):
    with pytest.raises(PipelineError, match=r"does not hold one image .*compute\.device to cpu"):
        CardPass(FullCard(0, error), SHAPE, 4)


def test_another_error_is_raised_as_it_is_and_leaves_the_card_usable(error):
    def run(batch: np.ndarray) -> list[np.ndarray]:
        if batch.max() == 7:
            raise RuntimeError("the cable is out")
        return [batch.sum(axis=(1, 2, 3), dtype=np.float32)]

    network = CardPass(run, SHAPE, 2)
    for _ in range(IN_FLIGHT + 1):
        with pytest.raises(RuntimeError, match="the cable is out"):
            network([np.full(SHAPE, 7, np.uint8)])
    assert network([np.ones(SHAPE, np.uint8)])[0].tolist() == [192]


def test_pictures_are_sent_as_bytes_and_views_as_floats(error):
    kinds = []

    def run(batch: np.ndarray) -> list[np.ndarray]:
        kinds.append(batch.dtype.name)
        return [batch.sum(axis=(1, 2, 3))]

    network = CardPass(run, SHAPE, 2)
    network(images(3))
    network([images(1)[0], np.full(SHAPE, 0.5)])
    assert kinds == ["uint8", "uint8", "uint8", "float32"]


def tiny_network() -> keras.Model:
    keras.utils.set_random_seed(0)
    image = keras.Input(SHAPE)
    cut = keras.layers.Conv2D(4, 3, strides=2, activation="relu")(
        keras.layers.Rescaling(1 / 255)(image)
    )
    return keras.Model(image, [cut, keras.layers.AveragePooling2D(3)(cut)])


def test_the_backend_computes_what_keras_does_from_several_threads():
    model, pictures = tiny_network(), images(37)
    expected = [
        keras.ops.convert_to_numpy(output)
        for output in model.predict_on_batch(np.stack(pictures).astype(np.float32))
    ]
    network = KerasNetworkOnCard(model, 8)
    assert network.batch_size == 8 and not network.uses_all_cores
    parts = [pictures[start : start + 6] for start in range(0, 37, 6)]
    for _ in range(2):
        found = [*zip(*map_in_order(network, parts, workers=4), strict=True)]
        for outputs, right in zip(found, expected, strict=True):
            outputs = np.concatenate(outputs)
            assert outputs.dtype == np.float32
            np.testing.assert_allclose(outputs, right, rtol=1e-5, atol=1e-6)


def test_bytes_and_floats_of_the_same_pixels_give_the_same_bytes():
    run = build_batch_pass(tiny_network())
    batch = np.stack(images(4))
    for as_bytes, as_floats in zip(run(batch), run(batch.astype(np.float32)), strict=True):
        assert as_bytes.tobytes() == as_floats.tobytes()


def test_half_precision_comes_back_as_float32():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = tiny_network()
    finally:
        keras.config.set_dtype_policy("float32")
    for output in build_batch_pass(model)(np.stack(images(2))):
        assert output.dtype == np.float32


def test_auto_asks_the_card_and_the_batch_size_is_part_of_the_identity(monkeypatch, capsys):
    model = tiny_network()
    fitting = 2 * IN_FLIGHT * image_bytes(model) * 40
    monkeypatch.setattr("transfer.backbones.keras_network.free_memory", lambda: fitting)
    chosen = KerasNetworkOnCard(model, "auto")
    assert chosen.batch_size == 32
    assert "the card is given 32 images at a time" in capsys.readouterr().out
    assert chosen.identity == KerasNetworkOnCard(model, 32).identity
    assert chosen.identity != KerasNetworkOnCard(model, 16).identity


def test_a_cpu_says_nothing_of_a_cards_memory():
    assert free_memory() is None
    card.release_memory()


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="needs jax: make test-backends")
def test_of_a_card_jax_says_what_is_left_of_its_share(monkeypatch):
    import jax

    class Device:
        def memory_stats(self) -> dict:
            return {"bytes_limit": 60 * GIB, "bytes_in_use": GIB}

    monkeypatch.setattr(keras.config, "backend", lambda: "jax")
    monkeypatch.setattr(jax, "devices", lambda: [Device()])
    assert free_memory() == 59 * GIB
