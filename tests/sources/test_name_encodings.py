"""Names in archives of any system: code pages, Unicode fields, backslashes."""

import io
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import pytest

from transfer.sources.name_encodings import encoding_of_names
from transfer.sources.reader import read_source

NAMES = [
    ("cp932", ["猫/写真1.png", "犬/写真2.png"]),
    ("cp932", ["ネコ/1.png", "いぬ/2.png"]),
    ("cp866", ["кошка/1.png", "собака/2.png"]),
    ("cp1251", ["кошка/1.png", "собака/2.png"]),
    ("cp949", ["고양이/1.png", "강아지/2.png"]),
    ("gbk", ["猫/照片1.png", "狗/照片2.png"]),
    ("gbk", ["蝴蝶/1.png", "蜜蜂/2.png"]),
    ("gbk", ["小猫/1.png", "小狗/2.png"]),  # Thai letters too, but in no order that Thai has
    ("big5", ["貓咪/1.png", "小狗/2.png"]),
    ("euc_jp", ["猫の写真/1.png", "いぬ/2.png"]),
    ("mac_roman", ["Käfer/1.png", "Ratón/2.png"]),
    ("cp437", ["käfer/1.png", "löwe/2.png"]),
    ("cp850", ["pássaro/1.png", "cão/2.png"]),
    ("cp1252", ["café/1.png", "thé/2.png"]),
    ("cp1252", ["pájaro/1.png", "niño/2.png"]),
    ("cp850", ["ørn/1.png", "bjørn/2.png"]),
    ("cp852", ["kočka/1.png", "žába/2.png"]),
    ("cp1250", ["żółw/1.png", "łoś/2.png"]),
    ("cp1254", ["köpek/1.png", "kuş/2.png"]),
    ("koi8_r", ["кошка/1.png", "собака/2.png"]),
    ("cp1251", ["КОШКА/1.png", "СОБАКА/2.png"]),
    ("cp737", ["γάτα/1.png", "σκύλος/2.png"]),
    ("cp1253", ["γάτα/1.png", "σκύλος/2.png"]),
    ("cp862", ["חתול/1.png", "כלב/2.png"]),
    ("cp1255", ["חתול/1.png", "כלב/2.png"]),
    ("cp1256", ["قطة/1.png", "كلب/2.png"]),
    ("cp874", ["แมว/1.png", "หมา/2.png"]),
    ("cp932", ["表/1.png", "能/2.png"]),  # their last bytes are backslashes
    ("gbk", ["猫/1.png", "狗/2.png"]),  # the first one is UTF-8 too
    ("utf-8", ["käfer/1.png", "日本/2.png", "кот/3.png"]),
]


def zip_of(path: Path, names: list[bytes], *, extra: list[bytes] | None = None) -> Path:
    """A zip of files of these names, without the flag that says UTF-8."""
    stand_ins = [chr(65 + number) * len(name) for number, name in enumerate(names)]
    with zipfile.ZipFile(path, "w") as archive:
        for number, stand_in in enumerate(stand_ins):
            member = zipfile.ZipInfo(stand_in)
            member.extra = extra[number] if extra else b""
            archive.writestr(member, b"one")
    content = path.read_bytes()
    for stand_in, name in zip(stand_ins, names, strict=True):
        content = content.replace(stand_in.encode(), name)
    path.write_bytes(content)
    return path


def paths(source: Path) -> list[str]:
    return sorted(entry.path for entry in read_source(source) if entry.content == b"one")


@pytest.mark.parametrize(("encoding", "names"), NAMES)
def test_names_of_a_zip_in_any_code_page_are_read(tmp_path, encoding, names):
    source = zip_of(tmp_path / "set.zip", [name.encode(encoding) for name in names])
    assert paths(source) == sorted(names)


@pytest.mark.parametrize(("encoding", "names"), NAMES)
def test_a_guessed_code_page_is_said(tmp_path, encoding, names):
    source = zip_of(tmp_path / "set.zip", [name.encode(encoding) for name in names])
    with tarfile.open(
        tmp_path / "set.tar", "w", format=tarfile.GNU_FORMAT, encoding=encoding
    ) as archive:
        for name in names:
            archive.addfile(tarfile.TarInfo(name))
    for path in (source, tmp_path / "set.tar"):
        remarks = []
        assert list(read_source(path, on_remark=remarks.append))
        assert len(remarks) == (encoding != "utf-8")
        assert all("names in the archive do not say their code page" in each for each in remarks)
        assert all("unzip -O CODEPAGE, 7z x -mcp=CODEPAGE" in each for each in remarks)


@pytest.mark.parametrize(("encoding", "names"), NAMES)
@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_names_of_a_tar_in_any_code_page_are_read(tmp_path, form, encoding, names):
    with tarfile.open(tmp_path / "set.tar", "w", format=form, encoding=encoding) as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 3
            archive.addfile(member, io.BytesIO(b"one"))
    assert paths(tmp_path / "set.tar") == sorted(names)


def test_long_names_of_pax_and_gnu_tars_are_read(tmp_path):
    name = "k\xe4fer/" + "日" * 90 + ".png"
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        with tarfile.open(tmp_path / "set.tar", "w", format=form, encoding="utf-8") as archive:
            member = tarfile.TarInfo(name)
            member.size = 3
            archive.addfile(member, io.BytesIO(b"one"))
        assert paths(tmp_path / "set.tar") == [name]


def test_the_unicode_field_of_a_zip_is_taken_if_it_is_of_this_name(tmp_path):
    raw, name = b"cat/__.png", "cat/日.png"
    fields = []
    for known in (raw, b"other"):
        field = b"\1" + zlib.crc32(known).to_bytes(4, "little") + name.encode()
        fields.append(struct.pack("<HH", 0x7075, len(field)) + field)
    source = zip_of(tmp_path / "set.zip", [raw, b"dog/_.png_"], extra=fields)
    assert paths(source) == ["cat/日.png", "dog/_.png_"]


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_backslashes_are_folders(tmp_path, kind):
    source = tmp_path / f"set.{kind}"
    if kind == "zip":
        zip_of(source, [b"set\\cat\\1.png", b"set\\dog\\2.png"])
    else:
        with tarfile.open(source, "w") as archive:
            for name in ("set\\cat\\1.png", "set\\dog\\2.png"):
                member = tarfile.TarInfo(name)
                member.size = 3
                archive.addfile(member, io.BytesIO(b"one"))
    assert paths(source) == ["set/cat/1.png", "set/dog/2.png"]


def test_bytes_of_no_code_page_are_taken_as_the_format_says():
    found = encoding_of_names([b"x\xe9\xb1y", b"k\xc3\xa4fer"])
    assert (found.encoding, found.guessed) == ("cp437", True)
    assert found.decode(b"k\xc3\xa4fer") == "käfer"


def test_backslashes_behind_letters_of_two_bytes_are_folders(tmp_path):
    source = zip_of(tmp_path / "set.zip", [f"表\\{i}能.png".encode("cp932") for i in range(2)])
    assert paths(source) == ["表/0能.png", "表/1能.png"]
