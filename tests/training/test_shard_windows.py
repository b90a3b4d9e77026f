"""Training from shards: the order of rows, the same models as from one file where all shards fit,
and how much memory it takes."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.shards import random, write
from tests.helpers.tiny_sources import REPOSITORY
from tests.training.test_loop import examples, params
from transfer.augmentation.views import AugmentedView
from transfer.augmentation.warp import AugmentParams
from transfer.classifiers.head import build_head
from transfer.runtime.params import load_params
from transfer.storage.object_store import ObjectStore
from transfer.storage.shard_cache import Layout
from transfer.storage.sharded_array import ShardedArray
from transfer.training.batches import (
    BatchParams,
    draw_windows,
    epoch_batches,
    training_batches,
    warn_if_sorted_by_class,
)
from transfer.training.loop import compile_classifier, fit


@pytest.fixture
def store(tmp_path) -> ObjectStore:
    (tmp_path / "place").mkdir()
    return ObjectStore(str(tmp_path / "place"), "resources.shards_url")


def batches(
    n: int, batch_size: int, layout: Layout, seed: int = 0, epoch: int = 0
) -> list[np.ndarray]:
    return list(
        epoch_batches(n, batch_size, seed, epoch, layout, draw_windows(n, layout, seed, epoch))
    )


def targets_of(labels: np.ndarray) -> np.ndarray:
    return np.float32(labels[:, None])


def without_shards(n: int, batch_size: int, seed: int = 0, epoch: int = 0) -> list[np.ndarray]:
    return list(epoch_batches(n, batch_size, seed, epoch, None, draw_windows(n, None, seed, epoch)))


@pytest.mark.parametrize("shard_rows", [7, 25, 100, 1000])
def test_where_all_shards_fit_the_order_is_that_of_one_file(shard_rows):
    for epoch in (0, 1):
        found, expected = (
            batches(100, 8, Layout(shard_rows, 15), epoch=epoch),
            without_shards(100, 8, epoch=epoch),
        )
        assert [rows.tolist() for rows in found] == [rows.tolist() for rows in expected]


@pytest.mark.parametrize(
    ("n", "batch_size", "layout"),
    [(103, 8, Layout(10, 3)), (103, 50, Layout(10, 2)), (20, 20, Layout(1, 1))],
)
def test_beyond_that_every_row_comes_once_and_windows_follow_one_another(n, batch_size, layout):
    found = batches(n, batch_size, layout)
    assert [len(rows) for rows in found] == [len(rows) for rows in without_shards(n, batch_size)]
    order = np.concatenate(found)
    assert sorted(order.tolist()) == list(range(n))
    windows = draw_windows(n, layout, 0, 0)
    assert (
        max(map(len, windows)) <= layout.window
        and max(map(len, windows)) - min(map(len, windows)) <= 1
    )
    sizes = [
        sum(min(layout.shard_rows, n - shard * layout.shard_rows) for shard in window)
        for window in windows
    ]
    for window, rows in zip(windows, np.split(order, np.cumsum(sizes)[:-1]), strict=True):
        assert set((rows // layout.shard_rows).tolist()) == set(window)


def test_rows_are_shuffled_within_a_window_and_shards_between_epochs():
    first, again, second = (
        np.concatenate(batches(1000, 10, Layout(50, 4), epoch=epoch)) for epoch in (3, 3, 4)
    )
    assert first.tolist() == again.tolist() != second.tolist()
    assert (np.diff(first[:200]) == 1).sum() < 10
    assert set((first[:200] // 50).tolist()) != set((second[:200] // 50).tolist())
    assert (
        np.concatenate(batches(1000, 10, Layout(50, 4), seed=1, epoch=3)).tolist() != first.tolist()
    )


def test_a_model_from_shards_in_one_window_is_the_model_from_one_file(tmp_path, store):
    train, validation = examples(30), examples(8)
    found = write(tmp_path / "a.shards", train.inputs, store, shard_rows=4)
    sharded = ShardedArray(found.path, found.index, store, window=8)

    def weights(inputs, mixup=0.2):
        head = build_head(train.inputs.shape[1:], 4, 0, False, 2)
        settings = params(epochs=3, mixup=mixup)
        compile_classifier(head, settings)
        head.set_weights([np.full(weight.shape, 0.1, np.float32) for weight in head.get_weights()])
        fit(head, lambda epoch: inputs, train.labels, validation, settings)
        return [weight.tolist() for weight in head.get_weights()]

    assert weights(sharded) == weights(train.inputs)
    assert weights(ShardedArray(found.path, found.index, store, window=2)) != weights(train.inputs)


def test_an_epochs_batches_do_not_depend_on_those_before(tmp_path, store):
    found = write(tmp_path / "a.shards", random(2, 40, 3), store, leading=2, shard_rows=4)
    settings = BatchParams(batch_size=6, class_weight=None, label_smoothing=0, mixup=0, seed=0)
    labels, weights = np.zeros(40, int), np.ones(40, np.float32)

    def seen(array: ShardedArray, epoch: int) -> list:
        return [
            batch.inputs.tolist()
            for batch in training_batches(
                array[epoch % 2], labels, targets_of, weights, settings, epoch
            )
        ]

    all_in_turn = [seen(found, epoch) for epoch in range(4)]
    resumed = ShardedArray(found.path, found.index, store, window=2)
    assert [seen(resumed, epoch) for epoch in (2, 3)] == all_in_turn[2:]


def test_augmented_views_of_images_in_shards_are_those_of_images_in_one_file(
    tmp_path, store, project
):
    images = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), dtype=np.uint8)
    found = write(tmp_path / "a.shards", images, store, shard_rows=3)
    augment = load_params(AugmentParams, "augment", REPOSITORY / "params.yaml")
    settings = BatchParams(batch_size=6, class_weight=None, label_smoothing=0, mixup=0, seed=0)
    labels, weights = np.zeros(20, int), np.ones(20, np.float32)
    assert AugmentedView(images, 1, augment).layout is None
    view = AugmentedView(found, 1, augment)
    windows = draw_windows(20, view.layout, 0, 0)
    rows = np.concatenate(list(epoch_batches(20, 6, 0, 0, view.layout, windows)))
    seen = np.concatenate(
        [batch.inputs for batch in training_batches(view, labels, targets_of, weights, settings, 0)]
    )
    assert len(windows) == 4 and np.array_equal(seen, AugmentedView(images, 1, augment)[rows])


def test_rows_class_by_class_in_more_shards_than_a_window_are_remarked_on(tmp_path, store):
    found = write(tmp_path / "a.shards", random(12, 2), store, shard_rows=4)
    labels = np.repeat([0, 1], 6)
    assert "set split.order to checksum" in warn_if_sorted_by_class(found, labels)
    assert warn_if_sorted_by_class(found, labels[::-1]) is None
    assert (
        warn_if_sorted_by_class(ShardedArray(found.path, found.index, store, window=3), labels)
        is None
    )
    assert warn_if_sorted_by_class(random(12, 2), labels) is None


TRAIN = """
import re, sys
from pathlib import Path
import numpy as np
from transfer.training.batches import BatchParams, training_batches
from transfer.storage.sharded_array import ShardedArray, read_index
from transfer.storage.object_store import ObjectStore

def peak():
    return int(re.search(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())[1])

path, url, window = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
array = ShardedArray(path, read_index(path), ObjectStore(url, "resources.shards_url"), window)
settings = BatchParams(batch_size=20, class_weight=None, label_smoothing=0, mixup=0, seed=0)
array[:2]
before, n = peak(), len(array)
labels, weights = np.zeros(n, int), np.ones(n, np.float32)
for epoch in range(2):
    for batch in training_batches(
        array, labels, lambda labels: np.float32(labels[:, None]), weights, settings, epoch
    ):
        pass
print((peak() - before) // 1000)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems count memory otherwise")
def test_training_from_many_shards_takes_the_memory_of_two_windows(tmp_path, store):
    """80 shards of 4 MB: 320 MB; two windows of 2 are 16 MB, and 8 readers may have as many shards
    under way."""
    array = np.random.default_rng(0).random((8000, 10_000), dtype=np.float32)
    write(tmp_path / "a.shards", array, store, shard_rows=100)

    def megabytes(window: int) -> int:
        words = [sys.executable, "-c", TRAIN, str(tmp_path / "a.shards"), store.url, str(window)]
        return int(
            subprocess.run(words, capture_output=True, text=True, check=True, cwd=REPOSITORY).stdout
        )

    assert megabytes(2) < 60
    assert megabytes(80) > 280, "the measure must see what is held otherwise"


def test_an_index_is_small_compared_with_its_shards(tmp_path, store):
    write(tmp_path / "a.shards", random(64, 64), store)
    assert Path(tmp_path / "a.shards").stat().st_size < 16 * 150
