"""Downloads over real HTTP on 127.0.0.1: complete, resumed, refused, and where they are kept."""

import fcntl
import hashlib
import os
import resource
import signal
import tempfile
from pathlib import Path

import numpy as np
import pytest

from tests.helpers import http_servers
from transfer.backbones import download as downloading
from transfer.backbones.download import DownloadError, download, kept_path, part_of
from transfer.runtime.errors import PipelineError

CONTENT = np.random.default_rng(0).bytes(4500)
MD5 = hashlib.md5(CONTENT).hexdigest()


@pytest.fixture
def site(tmp_path, monkeypatch) -> Path:
    http_servers.keep_to_loopback(monkeypatch)
    (tmp_path / "site/net").mkdir(parents=True)
    (tmp_path / "site/net/whole.h5").write_bytes(CONTENT)
    return tmp_path / "site"


@pytest.fixture
def target(tmp_path) -> Path:
    return tmp_path / "kept/whole.h5"


def fetch(url: str, target: Path, checksum: str = MD5, most_bytes: int = 10_000) -> None:
    download(f"{url}/net/whole.h5", target, checksum, most_bytes)


def kept(target: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in target.parent.iterdir()}


@pytest.mark.parametrize("checksum", [MD5, hashlib.sha256(CONTENT).hexdigest()])
def test_a_file_arrives_whole_and_alone(site, target, checksum):
    with http_servers.serve(site) as server:
        fetch(server.url, target, checksum)
    assert kept(target) == {"whole.h5": CONTENT}


def test_an_interrupted_connection_is_resumed(site, target):
    with http_servers.serve(site, drop_after=1000, ranges=True) as server:
        fetch(server.url, target)
    assert kept(target) == {"whole.h5": CONTENT}
    assert server.starts == [0, 1000, 2000, 3000, 4000]


def test_after_some_connections_the_download_fails_and_the_next_call_resumes_it(site, target):
    with http_servers.serve(site, drop_after=500, ranges=True) as server:
        with pytest.raises(DownloadError, match="broke off after 2,500 of 4,500 bytes"):
            fetch(server.url, target)
        assert kept(target) == {".whole.h5.part": CONTENT[:2500]}
        fetch(server.url, target)
    assert kept(target) == {"whole.h5": CONTENT}
    assert server.starts == [0, 500, 1000, 1500, 2000, 2500, 3000, 3500, 4000]


def test_a_server_that_knows_no_ranges_sends_all_of_it_again(site, target):
    target.parent.mkdir()
    part_of(target).write_bytes(CONTENT[:100])
    with http_servers.serve(site) as server:
        fetch(server.url, target)
    assert kept(target) == {"whole.h5": CONTENT}


def test_what_is_there_whole_but_was_not_yet_moved_is_taken(site, target):
    target.parent.mkdir()
    part_of(target).write_bytes(CONTENT)
    with http_servers.serve(site, ranges=True) as server:
        fetch(server.url, target)
    assert kept(target) == {"whole.h5": CONTENT}
    assert server.starts == [4500]


@pytest.mark.parametrize("n", [100, 5000])
def test_what_began_as_another_file_is_fetched_anew(site, target, n):
    target.parent.mkdir()
    part_of(target).write_bytes(bytes(n))
    with http_servers.serve(site, ranges=True) as server:
        fetch(server.url, target)
    assert kept(target) == {"whole.h5": CONTENT}
    assert server.starts == [n, 0]


def test_another_file_is_refused_with_both_checksums_and_what_was_there_stays(site, target):
    target.parent.mkdir()
    target.write_bytes(b"earlier")
    with (
        http_servers.serve(site) as server,
        pytest.raises(DownloadError, match=f"another file: its md5 is {MD5}, not {'0' * 32}"),
    ):
        fetch(server.url, target, "0" * 32)
    assert kept(target) == {"whole.h5": b"earlier"}


def test_a_server_that_never_ends_is_left(site, target, monkeypatch):
    monkeypatch.setattr(downloading, "_PIECE", 100)
    with http_servers.serve(site) as server, pytest.raises(DownloadError, match="another file"):
        fetch(server.url, target, most_bytes=1000)
    assert kept(target) == {}


def test_a_host_that_refuses_or_has_no_such_file_is_told_so_and_asked_once(site, target):
    with pytest.raises(DownloadError, match="Connection refused"):
        fetch(http_servers.refuse(), target)
    with (
        http_servers.serve(site) as server,
        pytest.raises(DownloadError, match="HTTP 404 File not found"),
    ):
        download(f"{server.url}/gone.h5", target, MD5, 10_000)
    assert server.starts == [0]
    assert kept(target) == {}


def test_a_host_that_stalls_is_given_up(target, monkeypatch):
    http_servers.keep_to_loopback(monkeypatch)
    monkeypatch.setattr(downloading, "TIMEOUT_SECONDS", 0.1)
    with http_servers.stall() as url, pytest.raises(DownloadError, match="timed out"):
        fetch(url, target)


def test_a_file_that_another_process_fetches_is_left_to_it(site, target):
    target.parent.mkdir()
    with part_of(target).open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with (
            http_servers.serve(site) as server,
            pytest.raises(
                PipelineError, match=r"whole\.h5\.part: another process is fetching this file"
            ),
        ):
            fetch(server.url, target)
    assert server.starts == []


def test_a_full_disk_is_an_error_that_names_the_file_and_keeps_what_has_come(site, target):
    """A limit on the size of files stands for it."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with http_servers.serve(site, ranges=True) as server:
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (3000, before[1]))
            with pytest.raises(OSError, match=r"File too large: .*/\.whole\.h5\.part'$"):
                fetch(server.url, target)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            signal.signal(signal.SIGXFSZ, handler)
        assert kept(target) == {".whole.h5.part": CONTENT[:3000]}
        fetch(server.url, target)
    assert kept(target) == {"whole.h5": CONTENT}


def test_a_download_is_kept_where_keras_keeps_its_own_if_that_can_be_written(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "new/keras"))
    assert kept_path("a.h5") == tmp_path / "new/keras/models/a.h5"
    monkeypatch.delenv("KERAS_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    kept = tmp_path / "home/.keras/models/a.h5"
    assert kept_path("a.h5") == kept
    monkeypatch.setattr(os, "access", lambda folder, mode: False)
    assert kept_path("a.h5") == Path(tempfile.gettempdir(), ".keras/models/a.h5")
    kept.parent.mkdir(parents=True)
    kept.write_bytes(CONTENT)
    assert kept_path("a.h5") == kept, "what is there can be read"
