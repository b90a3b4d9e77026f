"""`split` and `decode` that were stopped go on where they were, with the files that came out as if
they had not been; shards that workers make are those that the stage makes."""

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import fsspec
import numpy as np
import pytest

from stages import decode, split
from tests.helpers.tiny_sources import (
    REPOSITORY,
    build,
    class_folders,
    encode,
    picture,
    write_params,
)
from transfer.dataset.manifest import read_manifest
from transfer.runtime.errors import PipelineError
from transfer.sources import image_shards, scan, verified_images
from transfer.sources.scan_journal import ScanJournal
from transfer.sources.source_file import BATCH_ENTRIES, SourceFile
from transfer.storage.object_store import ObjectStore
from transfer.storage.params import ArrayFormat

FILES = class_folders(cat=14, dog=16)
URL = "memory://bucket/pets"
LATE = FILES["dog/9.png"]  # of the second batch, in the order of a folder and of an archive
SPLIT_MAKES = ["manifest/manifest.csv", "split/rejected.csv", "split/hashes.csv"]


@pytest.fixture
def described(project, monkeypatch) -> Path:
    """A project with the real dvc.yaml, so that what was done before it was stopped is found."""
    monkeypatch.delenv("DVC_ROOT", raising=False)
    shutil.copy(REPOSITORY / "dvc.yaml", project)
    for name in ("stages", "transfer"):
        (project / name).symlink_to(REPOSITORY / name)
    yield project
    files = fsspec.filesystem("memory")
    files.store.clear()
    files.pseudo_dirs[:] = [""]


def configure(source: str | Path, form: str = "npy") -> None:
    write_params(
        Path(),
        split={"source": str(source), "train": 0.5, "validation": 0.3, "test": 0.2},
        backbone={"image_size": 32},
        arrays={"format": form, "shard_rows": 4},
        resources={"shards_url": "memory://shards/here"},
    )


def put_in_bucket(files: dict[str, bytes]) -> None:
    bucket = fsspec.filesystem("memory")
    bucket.makedirs("/shards/here", exist_ok=True)
    for path, content in files.items():
        bucket.pipe_file(f"/bucket/pets/{path}", content)


def made_by_split() -> list[bytes]:
    return [Path("data", name).read_bytes() for name in SPLIT_MAKES]


def made_by_decode() -> list[bytes]:
    return [file.read_bytes() for file in sorted(Path("data/images").rglob("images.*"))]


class StoppedError(Exception):
    """Ends a stage part way, as if its process had been killed."""


def count_calls(monkeypatch, module, name: str, stop_at: bytes | None = None) -> list[bytes]:
    """The files that a function of a module is given from now on; at one of them it raises."""
    before, given = getattr(module, name), []

    def counted(content: bytes, *others):
        if content == stop_at:
            raise StoppedError
        given.append(content)
        return before(content, *others)

    monkeypatch.setattr(module, name, counted)
    return given


def stop_split(monkeypatch) -> None:
    """Run `split` until it comes to the file LATE."""
    with monkeypatch.context() as patch, pytest.raises(StoppedError):
        count_calls(patch, scan, "examine", stop_at=LATE)
        split.main()


def stop_decode(monkeypatch, late: bytes = LATE) -> None:
    """Run `decode` until it comes to this file."""
    with monkeypatch.context() as patch, pytest.raises(StoppedError):
        count_calls(patch, verified_images, "read_rgb", stop_at=late)
        decode.main()


def resume_decode(monkeypatch) -> list[bytes]:
    """Run `decode` to its end; the files that it decodes."""
    with monkeypatch.context() as patch:
        again = count_calls(patch, verified_images, "read_rgb")
        decode.main()
    return again


@pytest.mark.parametrize("kind", ["folder", "set.zip", URL])
def test_split_decodes_no_file_twice(described, monkeypatch, kind):
    source = kind if kind == URL else build(described / kind, FILES)
    if kind == URL:
        put_in_bucket(FILES)
        monkeypatch.setattr("transfer.storage.object_store._VERSIONS", ("created",))
    configure(source)
    split.main()
    expected = made_by_split()
    shutil.rmtree(described / "data")
    stop_split(monkeypatch)
    assert not Path("data/manifest/manifest.csv").exists()
    with monkeypatch.context() as patch:
        again = count_calls(patch, scan, "examine")
        split.main()
    assert made_by_split() == expected
    assert LATE in again and len(again) <= len(FILES) - BATCH_ENTRIES
    assert not list(Path(".checkpoints").rglob("*.*"))


def test_a_split_that_fails_after_the_scan_decodes_no_file_again(described, monkeypatch):
    configure(build(described / "folder", FILES))

    def fail(*_, **__):
        raise StoppedError

    with monkeypatch.context() as patch, pytest.raises(StoppedError):
        patch.setattr(split, "divide", fail)
        split.main()
    again = count_calls(monkeypatch, scan, "examine")
    split.main()
    assert again == []


def test_a_file_that_has_changed_since_is_decoded_again(described, monkeypatch):
    source = build(described / "folder", FILES)
    configure(source)
    stop_split(monkeypatch)
    changed = encode(picture(200), "png")
    for path in FILES:
        (source / path).write_bytes(changed) if path == "cat/1.png" else None
    split.main()
    found = Path("data/split/hashes.csv").read_text()
    shutil.rmtree(described / "data")
    split.main()
    assert Path("data/split/hashes.csv").read_text() == found


def test_a_damaged_journal_costs_time_only(tmp_path):
    entry = SourceFile("cat/1.png", FILES["cat/1.png"])
    with ScanJournal(tmp_path) as journal:
        (seen,) = scan.ScanFunction((255, 255, 255))([entry])
        journal.put([(entry, seen)])
    with ScanJournal(tmp_path) as journal:
        assert journal.get(entry) == seen
        assert journal.get(SourceFile("cat/1.png", b"other")) is None
        assert journal.get(SourceFile("cat/1.png", version="")) is None
        assert journal.get(SourceFile("cat/2.png", FILES["cat/1.png"])) is None
    whole = (tmp_path / "scanned.jsonl").read_bytes().strip()
    for damage in (whole[:-9], b"\xff" + whole, b"[1]\n{}\n", whole.replace(b"sha256", b"sha512")):
        (tmp_path / "scanned.jsonl").write_bytes(damage)
        with ScanJournal(tmp_path) as journal:
            assert journal.get(entry) is None


def test_of_a_file_that_changed_the_journal_knows_what_was_noted_last(tmp_path):
    entry, changed = (SourceFile("cat/1.png", FILES[path]) for path in ("cat/1.png", "dog/1.png"))
    for each in (entry, replace(changed, version="2")):
        with ScanJournal(tmp_path) as journal:
            (seen,) = scan.ScanFunction((255, 255, 255))([each])
            journal.put([(each, seen)])
    with ScanJournal(tmp_path) as journal:
        assert journal.get(entry) is None
        assert journal.get(changed) == journal.get(SourceFile("cat/1.png", version="2")) == seen


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a disk that is always full")
def test_a_journal_on_a_full_disk_is_given_up(tmp_path, capsys):
    entry = SourceFile("cat/1.png", FILES["cat/1.png"])
    (seen,) = scan.ScanFunction((255, 255, 255))([entry])
    with ScanJournal(tmp_path) as journal:
        (tmp_path / "scanned.jsonl").symlink_to("/dev/full")
        journal.put([(entry, seen)])
        journal.put([(entry, seen)])
    assert capsys.readouterr().out.count("no checkpoint can be written") == 1


@pytest.mark.parametrize("kind", ["folder", "set.tar.gz"])
@pytest.mark.parametrize("form", ["npy", "shards"])
def test_decode_decodes_no_image_twice(described, monkeypatch, kind, form):
    put_in_bucket({})
    configure(build(described / kind, FILES), form)
    split.main()
    decode.main()
    expected = made_by_decode()
    # in the order in which a folder is read, that of the manifest, and in that of the archive
    late = FILES[read_manifest()["path"].iloc[-1] if kind == "folder" else list(FILES)[-1]]
    shutil.rmtree(described / "data/images")
    stop_decode(monkeypatch, late)
    assert made_by_decode() == []
    again = resume_decode(monkeypatch)
    assert made_by_decode() == expected
    assert late in again and len(again) <= len(FILES) - BATCH_ENTRIES
    assert not list(Path(".checkpoints").rglob("*.*"))


@pytest.mark.parametrize(
    ("kind", "form", "rows"),
    [("folder", "npy", 0), ("folder", "shards", 72), ("set.zip", "shards", 1000)],
)
def test_the_disk_keeps_room_for_the_shards_that_are_being_filled(tmp_path, kind, form, rows):
    kept = ArrayFormat(form, 4)
    assert decode.scratch_rows(build(tmp_path / kind, FILES), kept, 1000) == rows


def test_decode_keeps_nothing_on_a_disk_that_holds_the_shards_only(described, monkeypatch):
    put_in_bucket({})
    configure(build(described / "set.tar.gz", FILES), "shards")
    split.main()
    usage = SimpleNamespace(free=4 * 32 * 32 * 3)  # of one shard
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    stop_decode(monkeypatch)
    assert len(resume_decode(monkeypatch)) == len(FILES)


@pytest.mark.parametrize("kind", [URL, "folder", "set.zip", "set.tar"])
def test_shards_are_made_by_the_workers_and_are_those_of_a_source_read_in_one_pass(
    described, monkeypatch, kind
):
    put_in_bucket(FILES)
    configure(build(described / "set.tar.gz", FILES), "shards")
    split.main()
    decode.main()
    expected = made_by_decode()
    configure(kind if kind == URL else build(described / kind, FILES), "shards")
    monkeypatch.setattr(decode, "map_verified_images", None)
    decode.main()
    assert made_by_decode() == expected


def test_a_source_that_a_worker_does_not_see_is_read_by_the_stage(described, monkeypatch, capsys):
    put_in_bucket({})
    configure(build(described / "folder", FILES), "shards")
    split.main()
    decode.main()
    expected = made_by_decode()

    def start(task: image_shards.ImageShardTask) -> None:
        replace(task.images, source="/not/mounted").check_seen()

    monkeypatch.setattr(image_shards.ImageShardTask, "start", start)
    decode.main()
    assert made_by_decode() == expected
    assert "does not see this folder, so this machine reads" in capsys.readouterr().out


def test_a_store_that_refuses_midway_ends_decode_and_a_rerun_goes_on(described, monkeypatch):
    put_in_bucket(FILES)
    configure(URL, "shards")
    split.main()
    decode.main()
    expected = made_by_decode()
    shutil.rmtree(described / "data/images")
    fsspec.filesystem("memory").rm("/shards/here", recursive=True)
    fsspec.filesystem("memory").makedirs("/shards/here")
    before, stored = ObjectStore.put_bytes, []

    def put_bytes(store: ObjectStore, name: str, content: bytes) -> None:
        if len(stored) == 4:
            raise PipelineError("resources.shards_url = ...: the token has expired")
        before(store, name, content)
        stored.append(name)

    with monkeypatch.context() as patch, pytest.raises(PipelineError, match="has expired"):
        patch.setattr(ObjectStore, "put_bytes", put_bytes)
        decode.main()
    assert made_by_decode() == []
    again = resume_decode(monkeypatch)
    assert made_by_decode() == expected
    assert len(again) <= len(FILES) - 4 * 3


@pytest.mark.parametrize("kind", ["folder", "set.zip", "set.tar"])
def test_an_image_that_is_gone_or_has_changed_is_named(described, kind):
    put_in_bucket({})
    configure(build(described / kind, FILES), "shards")
    split.main()
    (described / kind).rename(described / f"before-{kind}")
    build(described / kind, {**FILES, "dog/3.png": FILES["cat/1.png"]})
    with pytest.raises(PipelineError, match=r"'dog/3\.png' is not the file that `split` saw"):
        decode.main()
    (described / kind).rename(described / f"changed-{kind}")
    build(described / kind, {path: each for path, each in FILES.items() if path != "dog/3.png"})
    with pytest.raises(PipelineError, match=r"'dog/3\.png'(: cannot be read: |; run `dvc repro`)"):
        decode.main()
    assert np.size(made_by_decode()) == 0


def test_an_image_of_a_bucket_that_has_changed_is_named(described):
    put_in_bucket(FILES)
    configure(URL, "shards")
    split.main()
    put_in_bucket({"dog/3.png": FILES["cat/1.png"]})
    with pytest.raises(PipelineError, match=r"'dog/3\.png' is not the file that `split` saw"):
        decode.main()
    fsspec.filesystem("memory").rm("/bucket/pets/dog/3.png")
    with pytest.raises(PipelineError, match=r"'dog/3\.png': gone since it was listed"):
        decode.main()
    assert np.size(made_by_decode()) == 0
