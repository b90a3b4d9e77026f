"""Folders and buckets as places of shards: which are refused, how they are written and listed."""

import threading

import fsspec
import pytest

from tests.helpers.shards import objects, random, write
from transfer.runtime.errors import PipelineError
from transfer.storage import object_store
from transfer.storage.object_store import ObjectStore
from transfer.storage.sharded_array import read_index


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("shards", "neither s3://... or the like nor an absolute path"),
        ("nowhere://bucket", "Protocol not known: nowhere"),
        ("gs://bucket", "`make .venv/extra-gs` installs it, and requirements/gs.txt has it for"),
        ("/nowhere/at/all", "no such bucket or folder; create it or correct the URL"),
    ],
)
def test_a_place_that_cannot_be_one_is_refused(url, words):
    with pytest.raises(PipelineError) as error:
        ObjectStore(url, "resources.shards_url").check_writable()
    assert str(error.value).startswith(f"resources.shards_url = {url!r}: ") and words in str(
        error.value
    )


def test_a_place_without_an_answer_is_left_after_a_while(monkeypatch, tmp_path):
    never = threading.Event()
    store = ObjectStore(str(tmp_path), "resources.shards_url")
    monkeypatch.setattr(object_store, "PROBE_TIMEOUT", 0.2)
    monkeypatch.setattr(store._files, "info", lambda path: never.wait())
    with pytest.raises(PipelineError, match=r"cannot be reached \(no answer within 0.2 seconds\)"):
        store.check_writable()
    never.set()


def test_a_store_of_objects_is_written_without_another_name(tmp_path):
    store = ObjectStore("memory://somewhere/below", "resources.shards_url")
    store._files.mkdir("/somewhere")
    write(tmp_path / "a.shards", random(6, 2), store)
    assert sorted(objects(store)) == sorted(
        shard.name for shard in read_index(tmp_path / "a.shards").shards
    )
    fsspec.filesystem("memory").store.clear()


def test_names_are_listed_folder_by_folder(tmp_path):
    for name in ("b/2.png", "b/1.png", "a/x/3.png", "a/4.png", "5.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    listed = list(ObjectStore(str(tmp_path), "x").walk())
    assert [name for name, _ in listed] == [
        "5.png",
        "a/",
        "a/4.png",
        "a/x/",
        "a/x/3.png",
        "b/",
        "b/1.png",
        "b/2.png",
    ]
    assert [size for _, size in listed] == [5, None, 7, None, 9, None, 7, 7]
    assert [name for name, _ in ObjectStore(str(tmp_path), "x").walk("a")] == [
        "a/4.png",
        "a/x/",
        "a/x/3.png",
    ]


def test_a_bucket_that_goes_while_shards_are_stored_is_named(monkeypatch):
    """What s3fs makes of NoSuchBucket."""
    store = ObjectStore("memory://bucket/shards", "resources.shards_url")

    def pipe_file(path: str, value: bytes) -> None:
        raise FileNotFoundError("The specified bucket does not exist")

    monkeypatch.setattr(store._files, "pipe_file", pipe_file)
    with pytest.raises(PipelineError, match=r"resources\.shards_url = .* no such bucket any more"):
        store.put_bytes("ab/c.npy", bytes(10))
