"""The store of rows: what is kept comes back bit for bit or not at all, and it never takes more
than its limit."""

import errno
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from transfer.runtime.checksums import content_key
from transfer.storage.row_cache import ENTRY, FOLDER, ActivationCache, store_folder

LAYOUT = np.dtype([("cut", "f4", (2, 2)), ("features", "f4", (3,))])
SIZE = ENTRY.itemsize + LAYOUT.itemsize
PLENTY = 1000 * SIZE
ONE, OTHER = content_key(b"one network"), content_key(b"another network")


def key(number: int) -> bytes:
    return content_key(b"image", str(number).encode())


def row(number: int) -> np.ndarray:
    """Random bits, NaNs among them: what comes back is compared by its bytes."""
    return np.frombuffer(np.random.default_rng(number).bytes(LAYOUT.itemsize), LAYOUT)[0]


def opened(folder: Path, identity: bytes = ONE, limit: int = PLENTY) -> ActivationCache:
    return ActivationCache(folder, identity, LAYOUT, limit)


def keep(
    folder: Path,
    *numbers: int,
    identity: bytes = ONE,
    limit: int = PLENTY,
    used: float | None = None,
) -> Path:
    """Put rows as one run does; the index of the segment,
    which was used last at the time `used`."""
    before = set(folder.rglob("*.index"))
    with opened(folder, identity, limit) as store:
        for number in numbers:
            store.put([key(number)], [row(number)])
    (index,) = set(folder.rglob("*.index")) - before
    if used is not None:
        os.utime(index, (used, used))
    return index


def known(folder: Path, numbers, identity: bytes = ONE) -> list[int]:
    """Which rows another run gets; each that it gets must be right."""
    found = {number: opened(folder, identity).get(key(number)) for number in numbers}
    for number, content in found.items():
        assert content is None or content.tobytes() == row(number).tobytes()
    return [number for number, content in found.items() if content is not None]


def bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_rows_come_back_bit_for_bit_in_another_run(tmp_path):
    keep(tmp_path, 0, 1)
    keep(tmp_path, 2)
    store = opened(tmp_path)
    assert len(store) == 3
    for number in range(3):
        found = store.get(key(number))
        assert found.dtype == LAYOUT
        assert found.tobytes() == row(number).tobytes()


def test_an_unknown_key_has_no_row(tmp_path):
    keep(tmp_path, 0)
    assert known(tmp_path, [1]) == []
    same_beginning = key(0)[:8] + bytes(24)
    assert opened(tmp_path).get(same_beginning) is None
    assert opened(tmp_path / "empty").get(key(0)) is None


def test_another_network_does_not_see_the_rows(tmp_path):
    keep(tmp_path, 0, 1)
    keep(tmp_path, 2, identity=OTHER)
    assert known(tmp_path, range(3)) == [0, 1]
    assert known(tmp_path, range(3), OTHER) == [2]


def test_parts_of_a_key_cannot_be_shifted():
    keys = [
        content_key(*parts)
        for parts in [(b"a", b"b"), (b"ab", b""), (b"", b"ab"), (b"ab",), (b"b", b"a"), (), (b"",)]
    ]
    assert len(set(keys)) == len(keys)
    assert {len(one) for one in keys} == {32}
    assert content_key(b"a", b"b") == content_key(b"a", b"b")


@pytest.mark.parametrize("suffix", [".rows", ".index"])
def test_any_flipped_byte_loses_its_row_and_no_other(tmp_path, suffix):
    index = keep(tmp_path, 0, 1, 2)
    path = index.with_suffix(suffix)
    whole = path.read_bytes()
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 0x10
        path.write_bytes(damaged)
        lost = place // (len(whole) // 3)
        assert known(tmp_path, range(3)) == [number for number in range(3) if number != lost]


@pytest.mark.parametrize("suffix", [".rows", ".index"])
def test_a_file_cut_off_anywhere_loses_only_what_was_cut(tmp_path, suffix):
    index = keep(tmp_path, 0, 1, 2)
    path = index.with_suffix(suffix)
    whole = path.read_bytes()
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        assert known(tmp_path, range(3)) == list(range(length // (len(whole) // 3)))


@pytest.mark.parametrize("half", [".rows", ".index"])
def test_half_a_segment_is_as_none(tmp_path, half):
    keep(tmp_path, 0, 1).with_suffix(half).unlink()
    keep(tmp_path, 2)
    assert known(tmp_path, range(3)) == [2]


def test_a_deletion_that_was_interrupted_leaves_nothing_uncounted(tmp_path, monkeypatch):
    keep(tmp_path, 0)
    unlinked, unlink = [], Path.unlink

    def interrupted(path, **options):
        if unlinked:
            raise KeyboardInterrupt
        unlinked.append(path)
        unlink(path, **options)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "unlink", interrupted)
        opened(tmp_path, limit=1).__enter__()
    opened(tmp_path).__enter__()
    assert bytes_in(tmp_path) == 0


def test_foreign_files_are_no_rows_and_no_obstacle(tmp_path):
    index = keep(tmp_path, 0, 1)
    for name in ("garbage", "garbage.rows", "lonely.index", "00-both.index", "00-both.rows"):
        (index.parent / name).write_bytes(np.random.default_rng(0).bytes(777))
    (tmp_path / "garbage.index").write_bytes(b"in the wrong place")
    assert known(tmp_path, range(3)) == [0, 1]
    keep(tmp_path, 2)
    assert known(tmp_path, range(3)) == [0, 1, 2]


def test_a_damaged_row_is_put_again_and_the_newer_one_is_found(tmp_path):
    rows = keep(tmp_path, 0, 1).with_suffix(".rows")
    rows.write_bytes(bytes(LAYOUT.itemsize) + rows.read_bytes()[LAYOUT.itemsize :])
    assert known(tmp_path, range(2)) == [1]
    newer = keep(tmp_path, 0)
    assert known(tmp_path, range(2)) == [0, 1]
    newer.with_suffix(".rows").write_bytes(b"")
    rows.write_bytes(row(0).tobytes() + row(1).tobytes())
    assert known(tmp_path, range(2)) == [0, 1], "an older one serves where the newer one is damaged"


def test_of_two_whole_rows_the_newer_is_found(tmp_path):
    for number in (0, 1, 2):
        with opened(tmp_path) as store:
            store.put([key(0)], [row(number)])
    assert opened(tmp_path).get(key(0)).tobytes() == row(2).tobytes()


def test_the_limit_is_never_exceeded_and_the_longest_unused_goes_first(tmp_path):
    keep(tmp_path, 0, 1, used=300)
    keep(tmp_path, 2, 3, used=100, identity=OTHER)
    keep(tmp_path, 4, 5, used=200)
    limit = 6 * SIZE + 5
    left = []
    with opened(tmp_path, limit=limit) as store:
        for number in range(10, 16):
            store.put([key(number)], [row(number)])
            assert bytes_in(tmp_path) <= limit
            left.append((known(tmp_path, range(6)), known(tmp_path, range(6), OTHER)))
    assert left == [
        ([0, 1, 4, 5], []),
        ([0, 1, 4, 5], []),
        ([0, 1], []),
        ([0, 1], []),
        ([], []),
        ([], []),
    ]
    assert known(tmp_path, range(10, 16)) == [10, 11, 12, 13, 14, 15]


def test_segments_of_this_run_stay_and_a_full_store_says_so_once(tmp_path, capsys):
    keep(tmp_path, 0, 1, used=100)
    keep(tmp_path, 2, 3, used=200)
    limit = 5 * SIZE
    with opened(tmp_path, limit=limit) as store:
        assert store.get(key(0)) is not None
        for number in range(10, 20):
            store.put([key(number)], [row(number)])
            assert bytes_in(tmp_path) <= limit
    assert known(tmp_path, range(20)) == [0, 1, 10, 11, 12]
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 1
    assert f"{tmp_path} is full" in said[0]
    assert "resources.cache_gigabytes" in said[0]


def test_reading_counts_as_use(tmp_path):
    keep(tmp_path, 0, used=100)
    keep(tmp_path, 1, used=200)
    with opened(tmp_path) as store:
        store.get(key(0))
    with opened(tmp_path, limit=SIZE):
        assert known(tmp_path, range(2)) == [0]


def test_a_limit_lowered_since_is_enforced_on_entering(tmp_path):
    for number in range(5):
        keep(tmp_path, number, used=100 + number, identity=ONE if number % 2 else OTHER)
    with opened(tmp_path, limit=2 * SIZE):
        assert bytes_in(tmp_path) == 2 * SIZE
    assert known(tmp_path, range(5)) + known(tmp_path, range(5), OTHER) == [3, 4]


def test_a_limit_of_zero_neither_reads_nor_writes(tmp_path, capsys):
    with opened(tmp_path / FOLDER, limit=0) as store:
        store.put([key(0)], [row(0)])
        assert store.get(key(0)) is None
    assert list(tmp_path.iterdir()) == []
    keep(tmp_path, 1)
    with opened(tmp_path, limit=0) as store:
        assert len(store) == 0
        assert store.get(key(1)) is None
    assert known(tmp_path, [1]) == [1], "what was kept is left alone"
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("refuses", [".rows", ".index"])
def test_a_disk_that_refuses_ends_the_keeping_with_one_sentence(
    tmp_path, monkeypatch, capsys, refuses
):
    accept = Path.open

    def refuse(path, mode="r", *arguments, **options):
        if mode == "ab" and path.suffix == refuses:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return accept(path, mode, *arguments, **options)

    with opened(tmp_path) as store:
        store.put([key(0)], [row(0)])
        monkeypatch.setattr(Path, "open", refuse)
        store.put([key(1)], [row(1)])
        monkeypatch.setattr(Path, "open", accept)
        store.put([key(2)], [row(2)])
    assert known(tmp_path, range(3)) == [0]
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 1
    assert os.strerror(errno.ENOSPC) in said[0]


def test_a_store_that_cannot_be_changed_still_serves_its_rows(tmp_path, monkeypatch):
    """A disk mounted read-only, say: neither touched nor made smaller, and no exception."""
    keep(tmp_path, 0, 1)

    def refuse(*arguments, **options):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    for owner, name in [(os, "utime"), (Path, "touch"), (Path, "unlink"), (Path, "mkdir")]:
        monkeypatch.setattr(owner, name, refuse)
    with opened(tmp_path, limit=SIZE) as store:
        assert store.get(key(0)).tobytes() == row(0).tobytes()
        store.put([key(2)], [row(2)])
    assert known(tmp_path, range(3)) == [0, 1]


def test_two_runs_at_the_same_time_keep_the_rows_of_both(tmp_path):
    with opened(tmp_path) as one, opened(tmp_path) as other:
        for number in range(0, 6, 2):
            one.put([key(number)], [row(number)])
            other.put([key(number + 1)], [row(number + 1)])
    assert known(tmp_path, range(6)) == list(range(6))


def test_a_store_deleted_meanwhile_has_no_rows_and_raises_nothing(tmp_path):
    folder = tmp_path / FOLDER
    keep(folder, 0, 1)
    with opened(folder) as store:
        assert store.get(key(0)) is not None
        store.put([key(2)], [row(2)])
        shutil.rmtree(folder)
        assert store.get(key(0)) is None
        assert store.get(key(1)) is None
        store.put([key(3)], [row(3)])
    assert known(folder, range(4)) == []


def test_the_store_is_in_the_folder_that_dvc_names(project, tmp_path, monkeypatch):
    monkeypatch.delenv("DVC_ROOT", raising=False)
    assert store_folder().resolve() == (project / ".rows").resolve()
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "main"))
    assert store_folder() == tmp_path / "main" / ".rows"
