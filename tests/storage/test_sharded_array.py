"""Arrays in shards against the same arrays in memory: what is stored, what is read, how much is
held, what is refused."""

import pickle
import resource
import threading
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.shards import objects, random, write
from transfer.runtime.errors import PipelineError
from transfer.storage import shard_cache
from transfer.storage.array_paths import inputs_path
from transfer.storage.array_writer import create_array
from transfer.storage.arrays import read_array, release_pages, take
from transfer.storage.object_store import ObjectStore
from transfer.storage.params import ArrayFormat, Shards
from transfer.storage.shard_check import check
from transfer.storage.shard_writer import create_shards
from transfer.storage.sharded_array import ShardedArray, read_index


@pytest.fixture
def store(tmp_path) -> ObjectStore:
    (tmp_path / "place").mkdir()
    return ObjectStore(str(tmp_path / "place"), "resources.shards_url")


@pytest.mark.parametrize("form", ["npy", "shards"])
def test_an_array_without_rows_is_written_and_read(tmp_path, store, form):
    """Of a split that has no images."""
    shards = Shards(store.url)
    kept = ArrayFormat(form, 4, shards)
    with create_array(tmp_path / "images", (0,), (4, 4, 3), "uint8", "x", kept):
        pass
    found = read_array(tmp_path / "images", shards, rows=0, ndim=4)
    assert (found.shape, found.dtype) == ((0, 4, 4, 3), np.uint8)
    assert take(found, slice(0, 256)).shape == np.asarray(found).shape == (0, 4, 4, 3)
    assert not objects(store)


@pytest.mark.parametrize("in_order", [True, False])
def test_rows_come_back_as_from_the_array_itself(tmp_path, store, in_order):
    array = random(11, 2, 3)
    order = None if in_order else np.random.default_rng(1).permutation(11)
    found = write(tmp_path / "a.shards", array, store, order=order)
    assert (found.shape, found.dtype, found.ndim, len(found), found.size) == (
        array.shape,
        array.dtype,
        3,
        11,
        66,
    )
    for rows in (
        0,
        -1,
        np.int64(5),
        slice(None),
        slice(3, 9),
        slice(10, 2, -3),
        slice(8, 99),
        np.array([9, 0, -2]),
        np.array([], int),
    ):
        assert np.array_equal(found[rows], array[rows])
        assert type(take(found, rows)) is np.ndarray and np.array_equal(
            take(found, rows), array[rows]
        )
    assert np.array_equal(np.array(found), array) and all(
        np.array_equal(a, b) for a, b in zip(found, array, strict=True)
    )
    release_pages(found)
    for rows in (11, -12, np.array([0, 11])):
        with pytest.raises(IndexError):
            found[rows]
    with pytest.raises(IndexError):
        found[np.array([True, False])]


def test_views_have_shards_of_their_own_and_are_read_alone(tmp_path, store):
    array = random(3, 10, 2)
    found = write(
        tmp_path / "a.shards",
        array,
        store,
        leading=2,
        order=np.random.default_rng(1).permutation(30),
    )
    assert found.shape == (3, 10, 2) and len(found) == 3 and len(objects(store)) == 9
    for view in (0, 2, -1):
        assert found[view].shape == (10, 2)
        assert np.array_equal(found[view][np.array([9, 1, 4])], array[view][[9, 1, 4]])
    assert np.array_equal(np.array(found), array)
    with pytest.raises(IndexError):
        found[3]


def test_a_shard_is_a_npy_file_named_by_its_content(tmp_path, store):
    array = random(6, 2)
    write(tmp_path / "a.shards", array, store)
    names = [shard.name for shard in read_index(tmp_path / "a.shards").shards]
    assert np.array_equal(np.concatenate([np.load(Path(store.url, name)) for name in names]), array)
    text = (tmp_path / "a.shards").read_text()
    assert store.url not in text and text.count("\n") == 4


def test_equal_arrays_have_equal_indexes_however_they_were_written_and_each_shard_is_stored_once(
    tmp_path, store
):
    array = random(10, 2)
    write(tmp_path / "a.shards", array, store)
    times = {path: path.stat().st_mtime_ns for path in Path(store.url).rglob("*.npy")}
    write(tmp_path / "b.shards", array, store, order=np.random.default_rng(1).permutation(10))
    write(tmp_path / "c.shards", np.concatenate([array[:8], -array[8:]]), store)
    assert (tmp_path / "a.shards").read_bytes() == (tmp_path / "b.shards").read_bytes()
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert len(objects(store)) == len(times) + 1 == 4


def test_a_block_that_fails_leaves_no_index_and_no_scratch(tmp_path, store):
    with (
        pytest.raises(KeyboardInterrupt),
        create_shards(tmp_path / "a.shards", (6,), (2,), "float32", 4, store, "x") as rows,
    ):
        rows[0] = [1, 2]
        raise KeyboardInterrupt
    with pytest.raises(
        ValueError, match="rows of 1 of 2 shards were never written, the first being shard 1"
    ):
        write(tmp_path / "a.shards", random(6, 2), store, order=range(5))
    assert [path.name for path in tmp_path.iterdir()] == ["place"]


def test_a_row_of_another_shape_or_of_a_full_shard_is_refused(tmp_path, store):
    with create_shards(tmp_path / "a.shards", (4,), (2,), "float32", 2, store, "x") as rows:
        with pytest.raises(ValueError, match=r"row 0 has shape \(3,\), not \(2,\)"):
            rows[0] = [1, 2, 3]
        for row in range(4):
            rows[row] = [row, row]
        with pytest.raises(ValueError, match="row 1 of a shard that is full"):
            rows[1] = [0, 0]


def test_a_row_that_the_disk_takes_only_in_part_is_an_error(tmp_path, store):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with (
        pytest.raises(OSError, match="too large"),
        create_shards(tmp_path / "a.shards", (2,), (64,), "float32", 2, store, "x") as rows,
    ):
        resource.setrlimit(resource.RLIMIT_FSIZE, (200, limits[1]))  # the header has 128 bytes
        try:
            rows[0] = np.ones(64)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_only_a_few_shards_are_on_the_local_disk_if_rows_come_in_order(tmp_path, store):
    most = 0
    with create_shards(tmp_path / "a.shards", (400,), (8,), "float32", 10, store, "x") as rows:
        for row in range(400):
            rows[row] = np.full(8, row)
            most = max(most, len(list((tmp_path / ".tmp-filling-a.shards").iterdir())))
    assert most <= 7


def test_what_a_shard_costs_does_not_grow_with_their_number(tmp_path, store, monkeypatch):
    """Those that are stored are not looked at again each time."""
    asked, done = [], Future.done
    monkeypatch.setattr(Future, "done", lambda future: asked.append(future) or done(future))
    write(tmp_path / "a.shards", random(200, 1), store, shard_rows=1)
    assert len(asked) < 20 * 200


def test_a_disk_without_room_for_a_shard_is_named_and_left_as_it_was(tmp_path, store):
    with (
        pytest.raises(PipelineError, match="a shard needs 72,000,000,0.* or lower augment.views"),
        create_shards(
            tmp_path / "a.shards", (9,), (10**15,), "float64", 10, store, "augment.views"
        ),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["place"]


def damage(path: Path, how: str) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.unlink() if how == "gone" else path.write_bytes(
        content if how == "flipped" else content[:-4]
    )


@pytest.mark.parametrize(
    ("how", "words"), [("flipped", "is damaged"), ("cut", "is damaged"), ("gone", "is missing")]
)
def test_a_shard_that_is_not_what_the_index_says_is_not_read(tmp_path, store, how, words):
    found = write(tmp_path / "a.shards", random(8, 2), store)
    shard = found.index.shards[1]
    damage(Path(store.url, shard.name), how)
    assert found[0].shape == (2,)
    with pytest.raises(PipelineError) as error:
        found[4:8]
    assert f"{shard.name}, a shard of {tmp_path / 'a.shards'}, {words}" in str(error.value)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"float32"', '"object"'),
        ('"float32"', '"nonsense"'),
        ('"leading": [6]', '"leading": [9]'),
        ('"leading": [6]', '"leading": [1, 1, 6]'),
        ('"leading": [6]', '"leading": ["6"]'),
        ('"shard_rows": 4', '"shard_rows": 0'),
        ('"rows": 2', '"rows": 3'),
        ('"sha256": "', '"sha256": "../'),
        ('"row": [2]', '"row": 2'),
        ("]}", "]"),
    ],
)
def test_a_damaged_index_is_refused(tmp_path, store, old, new):
    write(tmp_path / "a.shards", random(6, 2), store)
    text = (tmp_path / "a.shards").read_text()
    assert old in text
    (tmp_path / "a.shards").write_text(text.replace(old, new))
    with pytest.raises(
        PipelineError, match=r"a\.shards is damaged .*; delete it and run `dvc repro`"
    ):
        read_index(tmp_path / "a.shards")


def test_a_missing_index_says_how_to_get_it(tmp_path):
    with pytest.raises(PipelineError, match=r"a\.shards is missing; run `dvc repro` or `dvc pull`"):
        read_index(tmp_path / "a.shards")


def test_an_array_goes_to_another_process_and_reads_there(tmp_path, store):
    array = random(2, 6, 2)
    found = write(tmp_path / "a.shards", array, store, leading=2)
    assert np.array_equal(pickle.loads(pickle.dumps(found))[1][:], array[1])
    assert np.array_equal(pickle.loads(pickle.dumps(found[1]))[2], array[1, 2])


class Watched(ObjectStore):
    """Keeps what was read, and how many whole shards an array may hold: those that were read and
    not let go."""

    def __init__(self, url: str):
        super().__init__(url, "resources.shards_url")
        self.whole, self.parts, self.lock = [], 0, threading.Lock()

    def read(self, name, start=None, end=None):
        with self.lock:
            self.whole += [name] if start is None else []
            self.parts += start is not None
        return super().read(name, start, end)


def watched(tmp_path, array, monkeypatch, **kwargs) -> ShardedArray:
    monkeypatch.setattr(shard_cache, "SMALL", 0)
    (tmp_path / "place").mkdir()
    write(
        tmp_path / "a.shards",
        array,
        ObjectStore(str(tmp_path / "place"), "resources.shards_url"),
        **kwargs,
    )
    return ShardedArray(
        tmp_path / "a.shards",
        read_index(tmp_path / "a.shards"),
        Watched(str(tmp_path / "place")),
        window=2,
    )


def test_single_rows_are_read_by_themselves_and_many_by_the_shard(tmp_path, monkeypatch):
    array = random(300, 2)
    found = watched(tmp_path, array, monkeypatch, shard_rows=100)
    assert np.array_equal(found[np.array([5, 250, 7])], array[[5, 250, 7]])
    assert (found.store.whole, found.store.parts) == ([], 3)
    for row in range(100):
        assert np.array_equal(found[row], array[row])
    assert found.store.parts == 3 + shard_cache.FEW_ROWS - 2


def test_a_shard_that_could_not_be_read_is_read_again_when_it_is_wanted_again(
    tmp_path, monkeypatch
):
    """As when a network fails for a moment below a demo that runs for weeks."""
    array = random(40, 2)
    found = watched(tmp_path, array, monkeypatch, shard_rows=20)

    def fail(*_: object) -> bytes:
        raise PipelineError("it cannot be reached")

    with monkeypatch.context() as patch, pytest.raises(PipelineError, match="reached"):
        patch.setattr(found.store, "read", fail)
        found[:20]
    assert np.array_equal(found[:20], array[:20])


def test_reading_from_end_to_end_reads_each_shard_once_and_keeps_three(tmp_path, monkeypatch):
    array = random(500, 2)
    found = watched(tmp_path, array, monkeypatch, shard_rows=20)
    for start in range(0, 500, 32):
        assert np.array_equal(found[start : start + 32], array[start : start + 32])
        assert len(found._held._shards) <= shard_cache.KEPT + 1
    assert len(found.store.whole) == len(set(found.store.whole)) == 25


def test_windows_hold_two_and_read_each_shard_once(tmp_path, monkeypatch):
    array = random(200, 2)
    found = watched(tmp_path, array, monkeypatch, shard_rows=20)
    found.read_in([[7, 2], [9, 0], [4, 1], [3, 8], [6, 5]])
    order = np.concatenate([np.arange(20) + 20 * shard for shard in (2, 7, 0, 9, 1, 4, 3, 8, 6, 5)])
    for start in range(0, 200, 12):
        rows = order[start : start + 12]
        assert np.array_equal(found[rows], array[rows])
        assert len(found._held._shards) <= 4
    assert sorted(found.store.whole) == sorted(shard.name for shard in found.index.shards)
    assert found.store.parts == 0


def test_arrays_in_shards_are_written_and_read_at_the_given_place(project):
    (project / "place").mkdir()
    shards = Shards(str(project / "place"), window=3)
    array, kept = random(10, 2, 2, 3), ArrayFormat("shards", 4, shards)
    path = inputs_path("train", "features")
    with create_array(path, (10,), (2, 2, 3), "float32", "x", kept) as rows:
        for row in range(10):
            rows[row] = array[row]
    assert [file.name for file in path.parent.iterdir()] == ["features.shards"]
    found = read_array(path, shards, rows=10, ndim=4)
    assert np.array_equal(found[:], array) and found.layout == shard_cache.Layout(4, 3)
    with pytest.raises(
        PipelineError,
        match=r"data/features/train/features\.shards has 10 rows, the manifest has 9",
    ):
        read_array(path, shards, rows=9)
    with pytest.raises(PipelineError, match="4 dimensions were expected"):
        read_array(write(project / "b.shards", random(4, 2), found.store).path, shards, ndim=4)


@pytest.mark.parametrize("url", [None, ""])
def test_shards_without_a_place_are_refused(project, url):
    Path("data").mkdir()
    Path("place").mkdir()
    said = (
        r"resources\.shards_url is not set, and shards \(arrays\.format = 'shards'\) need it: "
        r"for example s3://bucket/prefix"
    )
    kept = ArrayFormat("shards", 4, Shards(url))
    with (
        pytest.raises(PipelineError, match=said),
        create_array(Path("data/images"), (10,), (2, 2, 3), "uint8", "backbone.image_size", kept),
    ):
        pass
    assert not list(Path("data").iterdir())
    write(
        project / "a.shards",
        random(4, 2),
        ObjectStore(str(project / "place"), "resources.shards_url"),
    )
    with pytest.raises(PipelineError, match=said):
        read_array(project / "a", Shards(url))


def test_every_shard_of_several_indexes_is_checked_once_and_named_with_its_index(
    tmp_path, monkeypatch
):
    array = random(8, 2)
    found = watched(tmp_path, array, monkeypatch)
    write(
        tmp_path / "b.shards",
        np.concatenate([array[:4], -array[4:]]),
        ObjectStore(found.store.url, "resources.shards_url"),
    )
    indexes = {path: read_index(path) for path in (tmp_path / "a.shards", tmp_path / "b.shards")}
    assert check(indexes, found.store) == [] and len(found.store.whole) == 3
    shared, own = found.index.shards
    damage(Path(found.store.url, shared.name), "flipped")
    damage(Path(found.store.url, own.name), "gone")
    said = [(path.name, shard, state) for path, shard, state in check(indexes, found.store)]
    assert said == [
        ("a.shards", shared, "damaged"),
        ("a.shards", own, "missing"),
        ("b.shards", shared, "damaged"),
    ]
