"""Sources on object storage, in a store that lives in memory: what is listed, when it is read, what
is refused."""

import pickle
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pandas as pd
import pytest

from stages import decode
from tests.helpers.split_stage import CATS_AND_DOGS, run_split
from tests.helpers.tiny_sources import build, class_folders
from transfer.labels.layout import find_layout
from transfer.runtime.errors import PipelineError
from transfer.sources import source_file as entries
from transfer.sources.reader import read_source
from transfer.sources.source_file import SourceFile
from transfer.storage import object_store

URL = "memory://bucket/pets"


@pytest.fixture
def bucket() -> Iterator[fsspec.AbstractFileSystem]:
    files = fsspec.filesystem("memory")
    yield files
    files.store.clear()
    files.pseudo_dirs[:] = [""]


def put(bucket, files: dict[str, bytes]) -> None:
    for path, content in files.items():
        bucket.pipe_file(f"/bucket/pets/{path}", content)


def test_a_url_gives_the_files_that_a_folder_gives(bucket, tmp_path):
    files = class_folders(cat=2, dog=3) | {
        "cat/.DS_Store": b"",
        "__MACOSX/x": b"",
        "readme.txt": b"hello",
    }
    put(bucket, files)
    listed = list(read_source(URL))
    assert [entry.content for entry in listed] == [None] * len(listed)
    loaded = {entry.path: entry.load().content for entry in listed}
    assert loaded == {
        entry.path: entry.content for entry in read_source(build(tmp_path / "set", files))
    }
    layout = find_layout([entry.path for entry in listed], URL)
    assert layout.place("dog/1.png") == (None, "dog")


def test_a_file_in_memory_is_its_own_content():
    entry = SourceFile("cat/1.png", b"one")
    assert entry.load() is entry


def test_an_entry_is_read_in_another_process_and_holds_no_secret(bucket, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
    put(bucket, {"cat/1.png": b"one"})
    packed = pickle.dumps(list(read_source(URL))[1])
    assert b"hidden" not in packed
    assert pickle.loads(packed).load() == SourceFile("cat/1.png", b"one")


def test_the_wanted_ones_come_in_their_order_and_nothing_is_listed(bucket, monkeypatch):
    put(bucket, {"cat/1.png": b"one", "dog/2.png": b"two"})
    monkeypatch.setattr(object_store.ObjectStore, "walk", None)
    wanted = {"dog/2.png": 0, "cat/3.png": 0, "cat/1.png": 0}
    assert [entry.load() for entry in read_source(URL, wanted)] == [
        SourceFile("dog/2.png", b"two"),
        SourceFile("cat/3.png", problem="gone since it was listed"),
        SourceFile("cat/1.png", b"one"),
    ]


def test_what_cannot_be_taken_is_said_unread(bucket, monkeypatch):
    monkeypatch.setattr(entries, "MAX_FILE_BYTES", 3)
    put(bucket, {"cat/1.png": b"four", "cat/new\nline.png": b"x"})
    assert [entry for entry in read_source(URL) if entry.problem] == [
        SourceFile(
            "cat/1.png",
            problem="4 bytes, more than the 3 that one image may have; shrink it",
        ),
        SourceFile(
            "cat/new\\x0aline.png",
            problem="the name holds a control character, such as a line break; rename it",
        ),
    ]


def test_a_folder_and_a_file_in_it_have_no_name_problem_of_one_another(bucket):
    put(bucket, {"cat/1.png": b"one"})
    assert [entry.is_folder for entry in read_source(URL)] == [True, False]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("memory://bucket/nothing", "there is nothing below that prefix"),
        ("memory://bucket/pets.zip", "an archive is read from a disk only"),
        ("nowhere://bucket/pets", "Protocol not known"),
    ],
)
def test_a_source_that_cannot_be_read_is_refused(bucket, url, words):
    put(bucket, {"cat/1.png": b"one"})
    with pytest.raises(PipelineError) as error:
        list(read_source(url))
    assert str(error.value).startswith(f"split.source = {url!r}: ") and words in str(error.value)


def test_a_store_that_fails_is_no_bad_image(bucket, monkeypatch):
    put(bucket, {"cat/1.png": b"one"})
    entry = list(read_source(URL))[1]

    def refuse(*args):
        raise PermissionError("Access Denied")

    monkeypatch.setattr(bucket, "cat_file", refuse)
    with pytest.raises(
        PipelineError, match=r"split\.source = 'memory://bucket/pets': refused \(Access Denied\)"
    ):
        entry.load()


def arrays() -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in Path("data/images").rglob("*.npy")}


def test_split_and_decode_make_of_a_url_what_they_make_of_a_folder(bucket, project):
    put(bucket, CATS_AND_DOGS)
    expected = run_split(build(project / "folder", CATS_AND_DOGS))
    decode.main()
    from_folder = arrays()
    pd.testing.assert_frame_equal(run_split(URL), expected)
    decode.main()
    assert arrays() == from_folder


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda bucket, path: bucket.rm_file(path), "gone since it was listed"),
        (
            lambda bucket, path: bucket.pipe_file(path, CATS_AND_DOGS["cat/1.png"]),
            "is not the file that `split` saw",
        ),
    ],
)
def test_an_object_that_is_gone_or_another_stops_decode(bucket, project, harm, words):
    put(bucket, CATS_AND_DOGS)
    run_split(URL)
    harm(bucket, "/bucket/pets/cat/0.png")
    with pytest.raises(PipelineError) as error:
        decode.main()
    assert str(error.value).startswith(f"{URL}: 'cat/0.png'") and words in str(error.value)
    assert not [path for path in Path("data/images").rglob("*") if path.is_file()]
