"""Reading a folder or an archive:
every kind alike, and each file that cannot be taken with its reason."""

import os
import struct
import subprocess
import tarfile
import tracemalloc
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.tiny_sources import add_to_tar, build
from transfer.sources import source_file as entry
from transfer.sources.reader import read_source
from transfer.sources.source_file import SourceFile

ARCHIVES = ["set.zip", "set.tar", "set.tar.gz"]
KINDS = ["folder", *ARCHIVES, "set.tar.bz2", "set.tar.xz"]
FILES = {"cat/1.png": b"one", "cat/2.png": b"two", "dog/käfer ü.png": b"three"}


def contents(source: Path) -> dict[str, bytes]:
    return {entry.path: entry.content for entry in read_source(source) if entry.content is not None}


def problems(source: Path) -> dict[str, str]:
    return {entry.path: entry.problem for entry in read_source(source) if entry.problem}


# What is read


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_source_gives_the_same_files(tmp_path, kind):
    source = build(tmp_path / kind, FILES)
    assert contents(source) == FILES
    assert problems(source) == {}


@pytest.mark.parametrize("kind", KINDS)
def test_files_that_are_read_later_are_the_same(tmp_path, kind):
    source = build(tmp_path / kind, FILES)
    later = list(read_source(source, later=True))
    can_be = kind in ("set.zip", "set.tar")
    assert all((file.content is None) == can_be for file in later if not file.is_folder)
    loaded = (file.load() for file in later)
    assert {file.path: file.content for file in loaded if not file.is_folder} == FILES


def test_a_member_of_any_zip_is_read_later_and_damage_is_its_problem(tmp_path):
    """Behind a program, as self-extracting archives are; one member each by every method."""
    source = tmp_path / "set.zip"
    methods = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA)
    files = {f"cat/{method}.png": b"one" * 99 for method in methods}
    with zipfile.ZipFile(source, "w") as archive:
        for (name, content), method in zip(files.items(), methods, strict=True):
            archive.writestr(name, content, method)
    source.write_bytes(b"program" + source.read_bytes())
    later = list(read_source(source, later=True))
    assert [file.content is None for file in later] == [True, True, False]
    assert {file.path: file.load().content for file in later} == files
    source.write_bytes(b"program" + bytes(source.stat().st_size))
    assert "damaged member" in later[1].load().problem
    source.unlink()
    assert later[1].load().problem == "gone since it was listed"


@pytest.mark.parametrize("kind", KINDS)
def test_hidden_files_and_clutter_are_passed_over(tmp_path, kind):
    clutter = [
        ".DS_Store",
        "cat/.DS_Store",
        "cat/._1.png",
        "__MACOSX/cat/1.png",
        "cat/Thumbs.db",
        "desktop.ini",
        ".git/config",
    ]
    source = build(tmp_path / kind, FILES | dict.fromkeys(clutter, b"clutter"))
    assert contents(source) == FILES
    assert problems(source) == {}


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_wanted_files_are_read(tmp_path, kind):
    source = build(tmp_path / kind, FILES)
    assert [
        entry for entry in read_source(source, {"cat/2.png"}) if not entry.path.endswith("/")
    ] == [SourceFile("cat/2.png", b"two")]


def test_an_entry_is_read_only_when_it_is_asked_for(tmp_path):
    folder = build(tmp_path / "set", FILES)
    entries = read_source(folder)
    assert [next(entries).path, next(entries).content] == ["cat/", b"one"]
    (folder / "cat/2.png").write_bytes(b"later")
    assert next(entries).content == b"later"


@pytest.mark.parametrize("make", ["tar", "zip"])
def test_folders_of_their_own_and_a_leading_dot_make_no_difference(tmp_path, make):
    source = tmp_path / f"set.{make}"
    if make == "tar":
        with tarfile.open(source, "w") as archive:
            add_to_tar(archive, "./", type=tarfile.DIRTYPE)
            add_to_tar(archive, "./cat/", type=tarfile.DIRTYPE)
            add_to_tar(archive, ".//cat/1.png", b"one")
    else:
        build(source, {"./": b"", "./cat/": b"", ".//cat/1.png": b"one"})
    assert list(read_source(source)) == [SourceFile("cat/"), SourceFile("cat/1.png", b"one")]


def test_a_tar_that_ends_with_a_zip_is_a_tar(tmp_path):
    inner = build(tmp_path / "inner.zip", {"x/1.png": b"inner"}).read_bytes()
    assert set(contents(build(tmp_path / "set.tar", FILES | {"z.zip": inner}))) == {*FILES, "z.zip"}


# What is refused, file by file


@pytest.mark.parametrize("kind", ARCHIVES)
@pytest.mark.parametrize(
    "name",
    [
        "../x.png",
        "cat/../../x.png",
        "/etc/x.png",
        "//host/x.png",
        "..\\x.png",
        "cat\\..\\..\\x.png",
        "\\x.png",
        "C:\\x.png",
        "C:/x.png",
    ],
)
def test_a_path_that_climbs_out_is_refused_and_nothing_is_written(tmp_path, kind, name):
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    source = build(folder / kind, FILES | {name: b"evil"})
    assert list(problems(source).values()) == ["the path climbs out of the source"]
    assert contents(source) == FILES
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [source]


def test_links_of_a_folder(tmp_path):
    (tmp_path / "secret.png").write_bytes(b"secret")
    folder = build(tmp_path / "set", FILES)
    for name, target in {
        "cat/inside.png": "1.png",
        "cat/leaves.png": "../../secret.png",
        "cat/absolute.png": "/etc/hostname",
        "cat/broken.png": "nowhere.png",
        "cat/loop.png": "loop.png",
        "cow": "dog",
        "out": "/etc",
    }.items():
        (folder / name).symlink_to(target)
    assert contents(folder) == FILES | {"cat/inside.png": b"one"}
    found = problems(folder)
    assert found == {
        "cat/leaves.png": "a link that leaves the folder; split.follow_links: true reads it",
        "cat/absolute.png": "a link that leaves the folder; split.follow_links: true reads it",
        "cat/broken.png": "a broken link",
        "cat/loop.png": "a broken link",
        "cow": "a link to a folder; split.follow_links: true reads it",
        "out": "a link that leaves the folder; split.follow_links: true reads it",
    }


def test_a_link_to_the_source_itself_is_followed(tmp_path):
    build(tmp_path / "set", FILES)
    (tmp_path / "link").symlink_to("set")
    assert contents(tmp_path / "link") == FILES


def test_what_is_no_regular_file_is_refused(tmp_path):
    folder = build(tmp_path / "set", FILES)
    os.mkfifo(folder / "cat" / "pipe.png")
    assert problems(folder) == {"cat/pipe.png": "not a regular file"}


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
def test_links_and_devices_in_a_tar_are_refused(tmp_path, suffix):
    source = tmp_path / f"set{suffix}"
    with tarfile.open(source, f"w:{suffix.removeprefix('.tar').removeprefix('.')}") as archive:
        add_to_tar(archive, "cat/1.png", b"one")
        add_to_tar(archive, "cat/soft.png", type=tarfile.SYMTYPE, linkname="/etc/passwd")
        add_to_tar(archive, "cat/hard.png", type=tarfile.LNKTYPE, linkname="cat/1.png")
        add_to_tar(archive, "cat/pipe.png", type=tarfile.FIFOTYPE)
    assert problems(source) == {
        "cat/soft.png": "a link inside an archive; archive it again with tar --dereference",
        "cat/hard.png": "a link inside an archive; archive it again with tar --hard-dereference",
        "cat/pipe.png": "not a regular file",
    }
    assert contents(source) == {"cat/1.png": b"one"}


def test_a_link_in_a_zip_is_refused(tmp_path):
    source = tmp_path / "set.zip"
    with zipfile.ZipFile(source, "w") as archive:
        link = zipfile.ZipInfo("cat/link.png")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    assert problems(source) == {
        "cat/link.png": "a link inside an archive; archive it again with links followed"
    }


def test_names_of_a_folder_that_are_not_utf8_are_refused_and_printable(tmp_path):
    folder = build(tmp_path / "set", FILES)
    Path(os.fsdecode(os.fsencode(folder) + b"/cat/\xe9.png")).write_bytes(b"latin")
    assert problems(folder) == {
        "cat/\\xe9.png": "the name is not UTF-8; rename it, with convmv say, or put the "
        "folder into a .tar: its names are read"
    }


@pytest.mark.parametrize("kind", ["folder", *ARCHIVES])
@pytest.mark.parametrize("character", ["\n", "\r", "\x1b"])
def test_control_characters_in_a_name_are_refused_and_printable(tmp_path, kind, character):
    source = build(tmp_path / kind, {f"cat/a{character}b.png": b"one"})
    expected = f"cat/a\\x{ord(character):02x}b.png"
    assert problems(source) == {
        expected: "the name holds a control character, such as a line break; rename it"
    }


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_the_second_file_of_a_name_is_refused(tmp_path, kind):
    source = tmp_path / f"set.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(source, "w") as archive:
            archive.writestr("cat/1.png", b"first")
            archive.writestr("cat/1.png", b"second")
    else:
        with tarfile.open(source, "w") as archive:
            add_to_tar(archive, "cat/1.png", b"first")
            add_to_tar(archive, "cat/1.png", b"second")
    assert list(read_source(source)) == [
        SourceFile("cat/1.png", b"first"),
        SourceFile("cat/1.png", problem="a second file of the same name in the archive"),
    ]


@pytest.mark.parametrize("kind", ["folder", *ARCHIVES])
def test_a_file_too_large_for_an_image_is_refused_unread(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(entry, "MAX_FILE_BYTES", 1000)
    source = build(tmp_path / kind, {"cat/1.png": b"one", "cat/film.png": bytes(1001)})
    assert problems(source) == {
        "cat/film.png": "1,001 bytes, more than the 1,000 that one image may have; shrink it"
    }
    assert contents(source) == {"cat/1.png": b"one"}


def change_first_member(path: Path, *, local: dict[int, bytes], central: dict[int, bytes]) -> None:
    """Overwrite bytes of a zip's first headers, at offsets inside the local header and its entry in
    the directory."""
    content = bytearray(path.read_bytes())
    for start, changes in (
        (content.index(b"PK\x03\x04"), local),
        (content.index(b"PK\x01\x02"), central),
    ):
        for offset, value in changes.items():
            content[start + offset : start + offset + len(value)] = value
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("local", "central", "words"),
    [
        ({6: b"\x01\x00"}, {8: b"\x01\x00"}, "encrypted; archive it again without a password"),
        ({}, {16: b"\x00\x00\x00\x00"}, "damaged member of the archive: Bad CRC-32"),
        (
            {8: b"\x09\x00"},
            {10: b"\x09\x00"},
            "packed with Deflate64, as Windows packs large files; unpack it, or archive it again",
        ),
        ({8: b"\x0e\x00"}, {10: b"\x0e\x00"}, "damaged member of the archive: "),
        ({}, {42: b"\xff\xff\xff\x00"}, "damaged member of the archive: Truncated file header"),
        ({0: b"XXXX"}, {}, "damaged member of the archive: Bad magic number"),
        ({26: b"\xff\xff"}, {}, "damaged member of the archive: "),
        ({35: b"\xff\xff\xff"}, {}, "damaged member of the archive: "),
    ],
    ids=[
        "encrypted",
        "checksum",
        "deflate64",
        "no lzma",
        "beyond the end",
        "no header",
        "name length",
        "no deflate",
    ],
)
def test_a_damaged_member_of_a_zip_is_refused_and_the_others_are_read(
    tmp_path, local, central, words
):
    source = build(tmp_path / "set.zip", {"a.png": b"first " * 9, "cat/2.png": b"two"})
    change_first_member(source, local=local, central=central)
    assert words in problems(source)["a.png"]
    assert contents(source) == {"cat/2.png": b"two"}


def test_a_zip_member_that_lies_about_its_size_is_not_unpacked_beyond_it(tmp_path):
    source = build(tmp_path / "set.zip", {"a.png": bytes(20_000_000)})
    change_first_member(source, local={}, central={24: struct.pack("<I", 100)})
    tracemalloc.start()
    assert "Bad CRC-32" in problems(source)["a.png"]
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()


@pytest.fixture
def deep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of 1,100 folders, one in the other; removed by `rm`, since the cleaning of tmp_path
    by Python would recurse."""
    monkeypatch.chdir(tmp_path)
    for _ in range(1100):
        Path("a").mkdir()
        os.chdir("a")
    Path("1.png").write_bytes(b"one")
    os.chdir(tmp_path)
    yield tmp_path
    subprocess.run(["rm", "-r", "a"], cwd=tmp_path, check=True)


def test_folders_nested_deeper_than_functions_may_be_are_read(deep):
    *folders, file = read_source(deep)
    assert len(folders) == 1100
    assert (file.path, file.content) == ("a/" * 1100 + "1.png", b"one")
