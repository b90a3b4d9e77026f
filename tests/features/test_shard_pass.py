"""Shards that workers make are those that one process writes row by row, in whatever order they
come, and what is known is not computed again."""

import pickle
import random
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.helpers.augmentation import augment_params
from transfer.augmentation.views import AugmentationJobs, ViewRenderer
from transfer.engines.base import Crashed
from transfer.engines.local import LocalEngine, LocalWorkerPool
from transfer.features.extraction import CleanImages, extract_features, unchanged
from transfer.features.frozen_network import FrozenPass
from transfer.features.shard_pass import KeysJob, ShardPass
from transfer.runtime.errors import PipelineError
from transfer.storage.array_writer import create_array
from transfer.storage.arrays import read_array
from transfer.storage.object_store import ObjectStore
from transfer.storage.params import ArrayFormat, Shards
from transfer.storage.row_cache import ActivationCache
from transfer.storage.sharded_array import read_index

N, ROWS = 23, 5
RANGES = augment_params(views=3)


class Network:
    """The frozen network's interface over a few sums; notes the images that it was given."""

    image_shape, cut_shape, features_shape = (4, 4, 3), (2, 2, 3), (1, 1, 3)
    batch_size, uses_all_cores, identity = 2, False, b"sums"

    def __init__(self):
        self.seen = []

    def __call__(self, images):
        self.seen += [image.tobytes() for image in images]
        pixels = np.stack(images).astype(np.float32)
        halves = pixels.reshape(-1, 2, 2, 2, 2, 3).sum(axis=(2, 4))
        return halves, halves.sum(axis=(1, 2), keepdims=True)


class Workers:
    """A pool that sends each job through pickle, to a process of its own so to speak, and gives
    the results in another order."""

    def __init__(self, function: ShardPass):
        self._function = function
        self.about = function.about

    def map(self, batches):
        sent = [(tag, pickle.loads(pickle.dumps(items))) for tag, items in batches]
        random.Random(0).shuffle(sent)
        return ((tag, self._function(items)) for tag, items in sent)


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (N, 4, 4, 3), dtype=np.uint8)


@pytest.fixture
def kept(project, monkeypatch) -> ArrayFormat:
    """A project, whose shards lie in a folder beside it."""
    monkeypatch.delenv("DVC_ROOT", raising=False)
    place = project.parent / "place"
    place.mkdir()
    return ArrayFormat("shards", ROWS, Shards(str(place)))


def in_shards(array: np.ndarray, kept: ArrayFormat, name: str = "images"):
    """An array as `decode` writes it, opened again."""
    with create_array(
        Path("data", name), array.shape[:1], array.shape[1:], str(array.dtype), "x", kept
    ) as rows:
        for row, content in enumerate(array):
            rows[row] = content
    return read_array(Path("data", name), kept.shards)


def run(
    images, kept, gigabytes=1.0, pool=LocalWorkerPool, params=None, network=None
) -> tuple[int, tuple[str, str]]:
    """How many pictures were computed, and the texts of both indexes."""
    network = network or Network()
    draw = ViewRenderer(params) if params else unchanged
    pictures = AugmentationJobs(images, params) if params else CleanImages(images)
    leading = (params.views, len(images)) if params else (len(images),)
    store = kept.shards.store
    extract_features(
        pool(ShardPass(FrozenPass(network, "float32", draw), store, 2)),
        pictures,
        leading,
        (Path("data/features"), Path("data/cut")),
        gigabytes,
        Path(".checkpoints/extract/key"),
        "x",
        kept,
    )
    return len(network.seen), tuple(
        Path(f"data/{k}.shards").read_text() for k in ("features", "cut")
    )


def expected(images, kept, params=None) -> tuple[str, str]:
    """The indexes when one process writes row after row."""
    pictures = AugmentationJobs(images, params) if params else CleanImages(images)
    draw = ViewRenderer(params) if params else unchanged
    cut, features = Network()([draw(pictures[row]) for row in range(len(pictures))])
    leading = (params.views, len(images)) if params else (len(images),)
    texts = []
    for name, content in (("one", features), ("two", cut)):
        with create_array(
            Path("data", name), leading, content.shape[1:], "float32", "x", kept
        ) as rows:
            for row, each in enumerate(content):
                rows[row] = each
        texts.append(Path(f"data/{name}.shards").read_text())
    return tuple(texts)


@pytest.mark.parametrize("params", [None, RANGES])
@pytest.mark.parametrize("pool", [LocalWorkerPool, Workers])
def test_the_shards_are_those_of_one_process_that_writes_row_by_row(kept, images, pool, params):
    assert run(in_shards(images, kept), kept, pool=pool, params=params)[1] == expected(
        images, kept, params
    )


@pytest.mark.parametrize("shard_rows", [3, 8, 100])
def test_images_may_lie_in_shards_of_another_size_or_in_one_file(kept, images, shard_rows):
    other = ArrayFormat("shards", shard_rows, kept.shards)
    for given in (in_shards(images, other), images):
        assert run(given, kept, gigabytes=0, pool=Workers)[1] == expected(images, kept)


@pytest.mark.parametrize("params", [None, RANGES])
@pytest.mark.parametrize("gigabytes", [1.0, 0])
def test_what_was_made_is_neither_computed_nor_read_again(kept, images, gigabytes, params, capsys):
    given = in_shards(images, kept)
    count = N * (params.views if params else 1)
    assert run(given, kept, gigabytes, params=params)[0] == count
    for shard in given.index.shards:
        kept.shards.store.delete(shard.name)
    computed, indexes = run(given, kept, gigabytes, params=params)
    assert computed == 0 and indexes == expected(images, kept, params)
    assert f"data/features: {count} rows were known (" in capsys.readouterr().out


def test_only_new_images_are_computed_wherever_they_come(kept, images):
    new = [2, 11, 22]
    run(in_shards(np.delete(images, new, axis=0), kept), kept)
    network = Network()
    assert run(in_shards(images, kept), kept, network=network)[1] == expected(images, kept)
    assert sorted(network.seen) == sorted(images[row].astype(np.uint8).tobytes() for row in new)


def test_another_order_of_the_images_computes_nothing(kept, images):
    run(in_shards(images, kept), kept)
    order = np.random.default_rng(1).permutation(N)
    assert run(in_shards(images[order], kept), kept, pool=Workers) == (
        0,
        expected(images[order], kept),
    )


def test_the_local_engine_ends_the_threads_that_compute(kept, images):
    made = ShardPass(FrozenPass(Network(), "float32", unchanged), kept.shards.store, 2)
    task = SimpleNamespace(start=lambda: made)
    job = KeysJob(CleanImages(images).part(0, 5))
    with LocalEngine().start(task) as workers:
        assert len(list(workers.map([(0, [job])]))) == 1
        made._threads.submit(len, "").result()
        threads = set(made._threads._threads)
        assert all(thread.is_alive() for thread in threads)
    assert threads and not any(thread.is_alive() for thread in threads)


def test_rows_of_an_earlier_run_without_shards_are_known_and_read_once(kept, images, monkeypatch):
    network = Network()
    extract_features(
        LocalWorkerPool(FrozenPass(network, "float32", unchanged)),
        CleanImages(images[:9]),
        (9,),
        (Path("data/a"), Path("data/b")),
        1.0,
        Path("unused"),
        "x",
        ArrayFormat(),
    )
    given, read, before = in_shards(images, kept), [], ActivationCache._read

    def counted(store: ActivationCache, *place) -> bytes | None:
        read.append(place)
        return before(store, *place)

    monkeypatch.setattr(ActivationCache, "_read", counted)
    assert run(given, kept) == (N - 9, expected(images, kept))
    assert len(read) == 9


@pytest.mark.parametrize("harm", ["lost", "damaged"])
def test_a_shard_that_the_store_has_lost_is_made_again(kept, images, harm):
    given = in_shards(images, kept)
    _, indexes = run(given, kept)
    shard = read_index(Path("data/cut.shards")).shards[1]
    file = Path(kept.shards.url, shard.name)
    file.unlink() if harm == "lost" else file.write_bytes(file.read_bytes()[:-1])
    assert run(given, kept) == (ROWS, indexes)
    assert file.stat().st_size == shard.bytes


def test_rows_in_a_shard_that_was_damaged_are_computed_again(kept, images):
    run(in_shards(images, kept), kept)
    file = Path(kept.shards.url, read_index(Path("data/features.shards")).shards[0].name)
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    order = np.roll(np.arange(N), 1)
    computed, _ = run(in_shards(images[order], kept), kept)
    assert computed == ROWS


@pytest.mark.parametrize("gigabytes", [1.0, 0])
def test_a_store_that_refuses_ends_in_a_sentence_and_a_rerun_goes_on(
    kept, images, gigabytes, monkeypatch
):
    given, before = in_shards(images, kept), ObjectStore.put_bytes
    stored = []

    def put_bytes(store: ObjectStore, name: str, content: bytes) -> None:
        if len(stored) == 2:
            raise PipelineError("resources.shards_url = ...: refused")
        before(store, name, content)
        stored.append(name)

    monkeypatch.setattr(ObjectStore, "put_bytes", put_bytes)
    with pytest.raises(PipelineError, match="refused"):
        run(given, kept, gigabytes, pool=Workers)
    assert not Path("data/features.shards").exists()
    monkeypatch.undo()
    monkeypatch.chdir(Path(kept.shards.url).parent / "project")
    monkeypatch.delenv("DVC_ROOT", raising=False)
    computed, indexes = run(given, kept, gigabytes)
    assert computed <= N - ROWS and indexes == expected(images, kept)


def test_images_that_end_their_workers_are_named(kept, images):
    class Crashing(Workers):
        def map(self, batches):
            return (
                (tag, [Crashed(3)] if tag == 2 else self._function(items)) for tag, items in batches
            )

    with pytest.raises(
        PipelineError, match=r"rows 10 to 14 ended 3 workers, .* arrays\.shard_rows"
    ):
        run(in_shards(images, kept), kept, pool=Crashing)


def test_a_full_disk_keeps_no_half_shard_and_is_named(kept, images, monkeypatch):
    given = in_shards(images, kept)
    files = type(kept.shards.store._files)

    def full(fs, path, value, **_) -> None:
        Path(path).parent.mkdir(exist_ok=True, parents=True)
        Path(path).write_bytes(value[:10])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(ObjectStore, "check_writable", lambda store: None)
        patch.setattr(files, "pipe_file", full)
        with pytest.raises(PipelineError, match=r"resources\.shards_url = .*No space left"):
            run(given, kept)
    assert not list(Path(kept.shards.url).rglob(".tmp-*"))
    assert run(given, kept)[1] == expected(images, kept)


def test_a_damaged_note_of_what_was_made_costs_time_only(kept, images):
    given = in_shards(images, kept)
    _, indexes = run(given, kept)
    (notes,) = Path(".rows").glob("*/*.shards")
    lines = notes.read_text().splitlines()
    lines[1] = lines[1].replace('"rows": 5', '"rows": 4')
    lines[2] = lines[2][:40]
    notes.write_text("\n".join(lines))
    computed, again = run(given, kept)
    assert ROWS <= computed <= 2 * ROWS and again == indexes
    for damage in (b"", b"[]\n", b"\xff\xfe", b'{"shards": []}\n'):
        for file in Path(".rows").glob("*/*.shards"):
            file.write_bytes(damage)
        assert run(given, kept) == (N, indexes)
