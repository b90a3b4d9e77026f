"""Sources that are refused whole: missing, of another kind, cut off, damaged."""

import gzip
import io
import os
import re
import struct
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from tests.helpers.tiny_sources import add_to_tar, build
from transfer.runtime.errors import PipelineError
from transfer.sources import reader
from transfer.sources.reader import read_source

ARCHIVES = ["set.zip", "set.tar", "set.tar.gz"]
KINDS = ["folder", *ARCHIVES, "set.tar.bz2", "set.tar.xz"]
FILES = {"cat/1.png": b"one", "cat/2.png": b"two", "dog/käfer ü.png": b"three"}


def refusal(source: Path) -> str:
    with pytest.raises(PipelineError) as error:
        list(read_source(source))
    return str(error.value)


def test_a_missing_source_is_named(tmp_path):
    words = refusal(tmp_path / "nowhere.zip")
    assert "split.source = " in words
    assert "nowhere.zip'" in words
    assert "give a path that exists" in words


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("notes", b"just bytes\n" * 100, "is the download complete?"),
        ("empty.zip", b"", "it is empty; is the download complete?"),
        ("cut.zip", b"PK\3\4" + bytes(600), "cut off, or one part of a split one"),
        ("web.zip", b"<!DOCTYPE html><html>not found</html>", "a web page, not an image"),
        ("lfs.zip", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ("start.tar.gz", gzip.compress(bytes(5000), mtime=0)[:15], "is the download complete?"),
        ("photo.jpg", b"\xff\xd8\xff\xe0" + bytes(600), "it is one image; give the folder"),
        ("set.7z", b"7z\xbc\xaf\x27\x1c\0\4", "a 7-Zip archive; unpack it and give the folder"),
        ("set.rar", b"Rar!\x1a\7\1\0", "a RAR archive; unpack it"),
        ("set.tar.zst", b"\x28\xb5\x2f\xfd", "unpack it to a .tar: zstd -d"),
        ("set.zip.001", b"PK\3\4", "one part of a split archive; join them"),
        ("set.part2.rar", b"Rar!", "one part of a split archive; join them"),
        ("set.parquet", b"PAR1", "it is a Parquet file: if it has paths and labels"),
        ("data_batch_1", b"\x80\4", "Python's pickle"),
        ("labels.csv", b"path,label\n", "it is a table; give the folder of the images"),
    ],
)
def test_a_source_of_another_kind_is_named(tmp_path, name, content, reason):
    (tmp_path / name).write_bytes(content)
    words = refusal(tmp_path / name)
    assert f"{name}': neither a folder nor a .zip, .tar or .tar.gz" in words
    assert reason in words


@pytest.mark.parametrize("name", ["set.iso", "SET.DMG"])
def test_an_image_of_a_disk_is_not_an_empty_archive(tmp_path, name):
    (tmp_path / name).write_bytes(bytes(40_000))
    assert "is an image of a disk; open it" in refusal(tmp_path / name)


def test_a_pipe_is_no_source(tmp_path):
    os.mkfifo(tmp_path / "set.tar")
    assert "neither a folder nor a file, but a pipe or a device" in refusal(tmp_path / "set.tar")


def test_one_part_of_a_split_zip_is_refused_as_such(tmp_path):
    source = build(tmp_path / "set.zip", {"cat/1.png": b"one"})
    (tmp_path / "set.z01").write_bytes(b"the first part")
    assert "one part of a split zip archive; join the parts first" in refusal(source)
    (tmp_path / "set.z01").unlink()
    content = bytearray(source.read_bytes())
    content[content.rindex(b"PK\5\6") + 4] = 1  # the number of this part
    source.write_bytes(content)
    assert "one part of a split zip archive; join the parts first" in refusal(source)


@pytest.mark.parametrize("kind", [*ARCHIVES, "set.tar.bz2", "set.tar.xz"])
@pytest.mark.parametrize("keep", [0.01, 0.2, 0.5, 0.8])
def test_a_truncated_archive_is_refused(tmp_path, kind, keep):
    source = build(tmp_path / kind, {f"cat/{i}.png": os.urandom(2000) for i in range(10)})
    whole = source.read_bytes()
    source.write_bytes(whole[: int(len(whole) * keep)])
    words = refusal(source)
    assert kind in words
    assert "is the download complete?" in words


def tar_of(count: int) -> bytearray:
    """A tar of `count` members, each of a block of header and one of data; then the two blocks that
    end it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for i in range(count):
            add_to_tar(archive, f"cat/{i}.png", bytes([i + 1]) * 512)
    return bytearray(buffer.getvalue())


@pytest.mark.parametrize(
    "end", [2 * 1024, 2 * 1024 + 100, 2 * 1024 + 512, 2 * 1024 + 700, 5 * 1024]
)
def test_a_tar_that_breaks_off_anywhere_is_refused(tmp_path, end):
    (tmp_path / "set.tar").write_bytes(tar_of(5)[:end])
    assert "damaged tar archive" in refusal(tmp_path / "set.tar")


def test_a_damaged_header_inside_a_tar_is_no_end_of_it(tmp_path):
    content = tar_of(5)
    content[2 * 1024 + 150] ^= 0xFF
    (tmp_path / "set.tar").write_bytes(content)
    assert "breaks off at byte 2,048" in refusal(tmp_path / "set.tar")


def test_a_changed_byte_in_a_tar_gz_is_noticed(tmp_path):
    packed = bytearray(gzip.compress(tar_of(5), compresslevel=0))
    packed[len(packed) // 10] ^= 0x01
    (tmp_path / "set.tar.gz").write_bytes(packed)
    assert "damaged tar archive (CRC check failed" in refusal(tmp_path / "set.tar.gz")


def test_a_damaged_zip_directory_is_refused(tmp_path):
    source = build(tmp_path / "set.zip", FILES)
    content = source.read_bytes()
    source.write_bytes(content.replace(b"PK\x01\x02", b"XXXX", 1))
    assert (
        "damaged zip archive (Bad magic number for central directory); is the download complete?"
        in refusal(source)
    )


# Archives made to do harm


def header(
    kind: bytes = tarfile.REGTYPE, length: int = 0, content: bytes = b"", **records: str
) -> bytes:
    """A member whose header says what it likes, then `content` in whole blocks."""
    member = tarfile.TarInfo("cat/1.png")
    member.type, member.size, member.pax_headers = kind, length, records
    return (
        member.tobuf(tarfile.PAX_FORMAT if records else tarfile.GNU_FORMAT)
        + content
        + bytes(-len(content) % tarfile.BLOCKSIZE)
    )


END = bytes(2 * tarfile.BLOCKSIZE)


@pytest.mark.parametrize(
    "content",
    [
        header() + header(length=-512),
        header() + header(length=-1024),
        header() + header(size="-1536"),
    ],
)
def test_a_tar_that_leads_back_into_itself_ends(tmp_path, content):
    (tmp_path / "set.tar").write_bytes(content + END)
    assert "damaged tar archive" in refusal(tmp_path / "set.tar")


@pytest.mark.parametrize("kind", [b"L", b"K", b"x", b"g"])
@pytest.mark.parametrize("before", [b"", header()], ids=["first", "later"])
def test_a_tar_header_that_would_fill_the_memory_is_refused(tmp_path, kind, before):
    (tmp_path / "set.tar").write_bytes(before + header(kind, 2**40) + END)
    assert (
        "a header of 1,099,511,627,776 bytes, more than the 1,048,576 that are allowed"
        in refusal(tmp_path / "set.tar")
    )


def test_many_global_headers_do_not_add_up(tmp_path):
    records = [f"{key:03}={'x' * 99_991}\n".encode() for key in range(20)]
    content = b"".join(header(b"g", 100_003, b"100003 " + record) for record in records)
    (tmp_path / "set.tar").write_bytes(content + header() + END)
    assert "more than the 1,048,576 that are allowed" in refusal(tmp_path / "set.tar")


@pytest.mark.parametrize("link", [header(b"L", 4, b"abc"), header(b"x")])
def test_a_chain_of_tar_headers_is_refused(tmp_path, link):
    (tmp_path / "set.tar").write_bytes(link * 2000 + header() + END)
    assert "set.tar" in refusal(tmp_path / "set.tar")


@pytest.mark.parametrize(
    "content", [header(b"S"), header(**{"GNU.sparse.major": "1", "GNU.sparse.minor": "0"})]
)
def test_a_tar_of_sparse_files_is_refused_since_their_maps_have_no_bound(tmp_path, content):
    (tmp_path / "set.tar").write_bytes(content + END)
    assert refusal(tmp_path / "set.tar").endswith(
        "a tar archive with sparse files; make it again without --sparse"
    )


def test_an_archive_of_too_many_members_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(reader, "MAX_ENTRIES", 4)
    (tmp_path / "set.tar").write_bytes(tar_of(5))
    assert "more than 4 files and folders; divide it" in refusal(tmp_path / "set.tar")
    assert len(list(read_source(build(tmp_path / "folder", FILES)))) == 5  # which is there already


@pytest.mark.parametrize(
    ("method", "reason"),
    [
        (zipfile.ZIP_LZMA, "a damaged member"),
        (zipfile.ZIP_BZIP2, "packed with bzip2; archive it again"),
    ],
)
def test_a_zip_member_that_lies_about_its_size_stays_small(tmp_path, method, reason):
    with (
        zipfile.ZipFile(tmp_path / "set.zip", "w", method) as archive,
        archive.open("cat/1.png", "w") as member,
    ):
        for _ in range(256):
            member.write(bytes(2**20))
    content = bytearray((tmp_path / "set.zip").read_bytes())
    for place in (22, content.rindex(b"PK\x01\x02") + 24):
        content[place : place + 4] = (2**20).to_bytes(4, "little")
    (tmp_path / "set.zip").write_bytes(content)
    tracemalloc.start()
    (entry,) = read_source(tmp_path / "set.zip")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert entry.problem.startswith(reason)
    assert peak < 100 * 2**20


def test_a_zip_said_to_span_disks_is_refused(tmp_path):
    content = build(tmp_path / "set.zip", FILES).read_bytes()
    end = content.rindex(b"PK\x05\x06")
    (tmp_path / "set.zip").write_bytes(
        content[:end] + struct.pack("<4sLQL", b"PK\x06\x07", 1, 0, 3) + content[end:]
    )
    # newer Pythons do not take it for a zip archive
    assert re.search(
        r"damaged zip archive \(zipfiles that span multiple disks are not supported\)"
        "|begins as a zip archive and ends otherwise: cut off, or one part of a split one",
        refusal(tmp_path / "set.zip"),
    )
