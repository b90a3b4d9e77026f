"""What `predict` is made of: how paths become a stream of files, and how the nearest training
images are found."""

import io
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from tests.helpers.tiny_sources import build, class_folders, encode, picture
from transfer.classifiers.head import build_head
from transfer.classifiers.keras_classifier import CPU_BATCH
from transfer.classifiers.saved import predict_logits
from transfer.features.pooling import pool
from transfer.inference import novelty
from transfer.inference.input_paths import check_given, read_given, read_list
from transfer.inference.novelty import Novelty, load_novelty, nearest
from transfer.inference.output_formats import columns_of, fit
from transfer.runtime.errors import PipelineError
from transfer.sources.source_file import SourceFile
from transfer.storage.params import Shards

IMAGE = encode(picture(0))


def paths_of(*given: str, stdin: bytes = b"", end: bytes = b"\n") -> list[str]:
    return [entry.path for entry in read_given(given, io.BytesIO(stdin), end)]


@pytest.fixture
def photos(project: Path) -> Path:
    """photos/b/0.png, photos/b/1.png, photos/a/0.png, and the same files in archives."""
    files = class_folders(b=2, a=1)
    build(project / "photos", {**files, ".hidden.png": IMAGE, "Thumbs.db": b"x"})
    build(project / "photos.zip", files)
    build(project / "photos.tar.gz", files)
    return project


def test_rows_come_in_the_order_given_and_a_folders_are_sorted(photos):
    folder = ["photos/a/0.png", "photos/b/0.png", "photos/b/1.png"]
    assert paths_of("photos/b/1.png", "photos/", "photos") == ["photos/b/1.png", *folder, *folder]
    assert paths_of("./photos") == [f"./{path}" for path in folder]
    assert paths_of(str(photos / "photos/a")) == [str(photos / "photos/a/0.png")]


@pytest.mark.parametrize("archive", ["photos.zip", "photos.tar.gz"])
def test_an_archives_files_come_in_its_own_order_with_what_is_in_them(photos, archive):
    entries = list(read_given([archive]))
    assert [entry.path for entry in entries] == [
        f"{archive}/{name}" for name in ("b/0.png", "b/1.png", "a/0.png")
    ]
    assert entries[2].content == (photos / "photos/a/0.png").read_bytes()


def test_a_glob_stands_for_the_files_that_it_matches(photos):
    assert paths_of("photos/**/*.png") == ["photos/a/0.png", "photos/b/0.png", "photos/b/1.png"]
    assert paths_of("photos/**") == [
        "photos/Thumbs.db",
        "photos/a/0.png",
        "photos/b/0.png",
        "photos/b/1.png",
    ]
    assert paths_of("*.zip", "photos/?/0.png")[3:] == ["photos/a/0.png", "photos/b/0.png"]
    build(photos, {"[a].png": IMAGE})
    assert paths_of("[a].png") == ["[a].png"], "what exists is no glob"
    build(photos / "set [v2]", {"1/a.png": IMAGE})
    assert paths_of("set [v2]/**/*.png") == ["set [v2]/1/a.png"], "nor is a folder that exists"
    assert paths_of("set [[]v2]/[1-3]/a.png") == ["set [v2]/1/a.png"]


@pytest.mark.parametrize("end", [b"\n", b"\0"])
def test_a_list_names_files_folders_and_archives_but_no_globs(photos, end):
    listed = end.join([b"photos/a", b"", b"photos/b/*.png", b"photos/b/0.png", b"photos.zip"])
    entries = list(read_given(["photos/b/1.png", "-", "photos/a"], io.BytesIO(listed), end))
    assert [entry.path for entry in entries if entry.problem] == ["photos/b/*.png"]
    assert [entry.path for entry in entries if not entry.problem] == [
        *("photos/b/1.png", "photos/a/0.png", "photos/b/0.png"),
        *("photos.zip/b/0.png", "photos.zip/b/1.png", "photos.zip/a/0.png", "photos/a/0.png"),
    ]


def test_a_listed_path_is_taken_as_soon_as_it_is_there():
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as file, os.fdopen(writing, "wb", buffering=0) as pipe:
        paths = read_list(file, b"\n")
        pipe.write(b"one\ntw")
        assert next(paths) == "one"
        pipe.write("o\nthree \ud83d\n".encode("utf-8", "surrogatepass"))
        assert next(paths) == "two"
        pipe.close()
        assert [os.fsencode(path) for path in paths] == [b"three \xed\xa0\xbd"]


def test_a_byte_order_mark_may_come_before_the_first_path_is_there():
    """Programs on .NET write it by itself."""
    pieces = iter([b"\xef\xbb\xbf", b"one\n", b""])
    assert list(read_list(SimpleNamespace(read1=lambda _: next(pieces)), b"\n")) == ["one"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lists_that_windows_writes_are_read(photos, encoding, end):
    listed = ["photos/a/0.png", "", "käfer.png", "日本.png"]
    mark = b"\xfe\xff" if encoding == "utf-16-be" else b""
    content = mark + "".join(path + end for path in listed).encode(encoding)
    assert list(read_list(io.BytesIO(content), b"\n")) == [
        "photos/a/0.png",
        "käfer.png",
        "日本.png",
    ]


def test_a_name_that_ends_in_a_carriage_return_is_taken_if_it_is_there(photos):
    Path("odd.png\r").write_bytes(b"x")
    assert list(read_list(io.BytesIO(b"odd.png\r\neven.png\r"), b"\n")) == ["odd.png\r", "even.png"]


def test_standard_input_is_the_processs_own_by_default(photos, monkeypatch):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"photos/a/0.png")))
    assert [entry.path for entry in read_given(["-"])] == ["photos/a/0.png"]


def test_nothing_is_read_before_it_is_asked_for(photos, monkeypatch):
    read = []
    monkeypatch.setattr(
        "transfer.inference.input_paths._read_file",
        lambda name: read.append(name) or SourceFile(name),
    )
    entries = read_given(["photos/a/0.png", "photos/b/0.png"])
    assert read == []
    next(entries)
    assert read == ["photos/a/0.png"]


def problems(*listed: bytes) -> dict[str, str | None]:
    return {
        entry.path: entry.problem for entry in read_given(["-"], io.BytesIO(b"\n".join(listed)))
    }


def test_what_cannot_be_read_is_an_entry_with_its_problem(photos):
    (photos / "folder.jpg").mkdir()
    (photos / "dangling.png").symlink_to("nowhere")
    os.mkfifo(photos / "pipe.png")
    (photos / "photos.zip").write_bytes(b"PK\3\4 and no more")
    found = problems(
        *(
            b"gone.png",
            b"folder.jpg",
            b"dangling.png",
            b"pipe.png",
            b"photos/a/0.png/x",
            b"x" * 300,
        ),
        *(b"null\0byte", b"photos.zip", b"photos/a/0.png"),
    )
    assert found == {
        "gone.png": "no such file",
        "folder.jpg": "no files in it",
        "dangling.png": "no such file",
        "pipe.png": "not a regular file",
        "photos/a/0.png/x": "cannot be read: Not a directory",
        "x" * 300: "cannot be read: File name too long",
        "null\0byte": (
            "no path: it holds a null byte; a list of paths that end in one is read with --null"
        ),
        "photos.zip": (
            "'photos.zip': neither a folder nor a .zip, .tar or .tar.gz that can be opened; it "
            "begins as a zip archive and ends otherwise: cut off, or one part of a split one; is "
            "the download complete?"
        ),
        "photos/a/0.png": None,
    }


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_an_entry_with_its_problem(photos):
    (photos / "photos/b/0.png").chmod(0)
    (photos / "photos/a").chmod(0)
    found = problems(b"photos/b", b"photos/a", b"photos.tar.gz")
    (photos / "photos/a").chmod(0o700)
    assert found["photos/b/0.png"] == found["photos/a"] == "cannot be read: Permission denied"
    assert found["photos.tar.gz/a/0.png"] is None


def test_a_machine_that_refuses_a_folder_stops_only_that_one(photos, monkeypatch):
    """As above, for who is root."""

    def refused(folder):
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr("transfer.sources.reader._children", refused)
    assert problems(b"photos/a", b"photos/b/0.png") == {
        "photos/a": "cannot be read: Permission denied",
        "photos/b/0.png": None,
    }


def test_a_locked_folder_in_a_folder_is_one_row_and_the_later_files_follow(photos, monkeypatch):
    scandir = os.scandir

    def refuse(folder):
        if Path(folder).name == "a":
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr("transfer.sources.reader.os.scandir", refuse)
    found = problems(b"photos")
    assert found["photos/a"] == "a folder that cannot be opened: Permission denied"
    assert found["photos/b/0.png"] is None


def test_a_tar_that_breaks_off_says_so_behind_what_it_had(photos):
    build(photos / "long.tar", {f"{i}.png": IMAGE for i in range(9)})
    whole = (photos / "long.tar").read_bytes()
    (photos / "long.tar").write_bytes(whole[: 512 * 7])
    *sound, last = read_given(["long.tar"])
    assert sound
    assert all(entry.problem is None for entry in sound)
    assert last.path == "long.tar"
    assert "damaged tar archive" in last.problem


def test_names_of_all_kinds_are_read_and_can_be_printed(photos):
    names = ["ünïcode 名.png", "line\nbreak.png", os.fsdecode(b"latin-\xe9.png")]
    for name in names:
        (photos / name).write_bytes(IMAGE)
    entries = list(read_given(names))
    assert [entry.content for entry in entries] == [IMAGE] * 3
    assert [entry.path for entry in entries] == [
        "ünïcode 名.png",
        "line\nbreak.png",
        "latin-\\xe9.png",
    ]
    assert problems(os.fsencode(names[2])) == {"latin-\\xe9.png": None}


def test_what_was_named_is_looked_at_before_a_network_is_loaded(photos):
    build(photos, {"empty.zip": b""})
    (photos / "nothing/in/it").mkdir(parents=True)
    build(photos / "none.tar", {})
    check_given(["photos", "photos.zip", "photos/*/0.png", "-", "photos/a/0.png"])
    for name, message in {
        "gone": "'gone': no such file or folder$",
        "https://a.org/b.jpg": "no such file or folder; it is an address: download it and name",
        "file:///b.jpg": "no such file or folder; name it by its path, without file:",
        '"gone"': "no such file or folder; the quotes around it .* remove them",
        "*.jpg": r"'\*.jpg': no file matches",
        "nothing": "'nothing': no files in it",
        "none.tar": "'none.tar': no files in it",
        "empty.zip": "^'empty.zip': neither a folder nor a .zip",
    }.items():
        with pytest.raises(PipelineError, match=message):
            check_given(["photos", name])


def cached(project: Path, **splits: np.ndarray) -> None:
    for split, activations in splits.items():
        folder = project / "data/features" / split
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "cut.npy", activations)


def some_vectors(n: int, seed: int = 0) -> np.ndarray:
    return pool(np.random.default_rng(seed).random((n, 2, 2, 30), dtype=np.float32))


def test_the_nearest_are_those_of_scikit_learn():
    among, wanted = some_vectors(400), some_vectors(24, seed=1)
    distances, rows = nearest(among, wanted, 7, np.arange(400) + 1000)
    expected, indices = (
        NearestNeighbors(n_neighbors=7, algorithm="brute").fit(among).kneighbors(wanted)
    )
    assert distances == pytest.approx(expected, abs=1e-6)
    assert (rows == indices + 1000).all()


def test_distances_do_not_depend_on_other_images_in_the_same_call():
    among, wanted = np.concatenate([some_vectors(400)] * 2), some_vectors(24, seed=1)
    together = nearest(among, wanted, 5, np.arange(800))[0]
    assert (
        together
        == np.concatenate([nearest(among, each[None], 5, np.arange(800))[0] for each in wanted])
    ).all()
    assert (nearest(among, among[:3], 2, np.arange(800))[0] == 0).all(), "its own copies"


def test_fewer_training_images_than_neighbours_are_all_neighbours(project):
    cached(
        project,
        train=np.eye(3, dtype=np.float32)[:, None, None],
        validation=np.ones((2, 1, 1, 3), np.float32),
    )
    found = load_novelty(10, 0, Shards())
    assert found.distances(np.array([[1, 0, 0]], np.float32)) == pytest.approx([2 * 2**0.5 / 3])
    assert len(found.usual) == 2


def test_of_many_images_some_are_drawn_and_their_rows_are_the_splits(project, monkeypatch):
    monkeypatch.setattr(novelty, "MOST_NEIGHBOURS", 50)
    activations = np.random.default_rng(0).random((300, 1, 1, 8), dtype=np.float32)
    cached(project, train=activations, validation=activations)
    found = load_novelty(3, 0, Shards())
    assert len(found.rows) == len(found.vectors) == len(found.usual) == 50
    distances, rows = found.nearest(pool(activations[found.rows[:5]]))
    assert (distances[:, 0] == 0).all()
    assert (rows[:, 0] == found.rows[:5]).all()


def test_a_percentile_counts_validation_images_that_are_nearer():
    found = Novelty(some_vectors(5), np.arange(5), 1, np.array([0.1, 0.2, 0.2, 0.4]))
    assert found.percentiles(np.array([0, 0.1, 0.2, 0.3, 0.4, 0.5])).tolist() == [
        0,
        0,
        25,
        75,
        75,
        100,
    ]


def test_features_that_are_not_finite_are_refused(project):
    activations = np.ones((3, 1, 1, 2), np.float32)
    broken = activations.copy()
    broken[1] = np.nan
    cached(project, train=broken, validation=activations)
    with pytest.raises(
        PipelineError,
        match=(
            r"train/cut.npy: row 1 holds NaN or infinity; delete the file and run `dvc repro "
            r"extract`"
        ),
    ):
        load_novelty(1, 0, Shards())


@pytest.mark.parametrize("n_classes", [2, 7])
def test_a_classifiers_rows_depend_neither_on_their_place_nor_on_the_size_of_evaluates_batch(
    n_classes,
):
    head = build_head((2, 2, 512), 256, 0, normalize=True, n_classes=n_classes)
    features = np.random.default_rng(0).random((CPU_BATCH, 2, 2, 512), dtype=np.float32)
    logits = head.predict_on_batch(features)
    assert (logits == predict_logits(head, features)).all()
    assert (logits[::-1] == head.predict_on_batch(features[::-1])).all()


def test_texts_are_fitted_by_the_columns_that_they_take():
    assert fit("short", 8) == "short   "
    assert fit("a long one", 6) == "a lon…"
    assert fit("a long one", 6, keep_end=True) == "…g one"
    assert fit("名前名前", 6) == "名前… "
    assert fit("a\nb\x1b", 9) == "a\\nb\\x1b "
    assert columns_of("e\u0301") == 1
