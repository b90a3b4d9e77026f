"""Why a file cannot be opened as an archive of images, and what a person can do about it."""

import re
from pathlib import Path

from transfer.decoding.file_kinds import describe_unreadable
from transfer.runtime.errors import PipelineError
from transfer.sources.source_file import IMAGE_NAME

_HEAD_BYTES = 65_536
_UNPACK = "unpack it and give the folder"
_SIGNATURES = (  # the bytes at the start, what they are and what to do
    (b"PK", "it begins as a zip archive and ends otherwise: cut off, or one part of a "
     "split one; is the download complete?"),
    (b"7z\xbc\xaf\x27\x1c", f"it is a 7-Zip archive; {_UNPACK}: 7z x"),
    (b"Rar!", f"it is a RAR archive; {_UNPACK}: unrar x, or 7z x"),
    (b"MSCF", f"it is a cabinet file of Windows; {_UNPACK}"),
    (b"\x28\xb5\x2f\xfd", "it is packed with Zstandard; unpack it to a .tar: zstd -d"),
    (b"\x04\x22\x4d\x18", "it is packed with LZ4; unpack it to a .tar: lz4 -d"),
    (b"LZIP", "it is packed with lzip; unpack it to a .tar: lzip -d"),
    (b"\x1f\x9d", "it is packed with compress; unpack it to a .tar: gzip -d"),
    (b"\x1f\x8b", "it is a gzip file with no tar archive in it, or a "
     "damaged one; is the download complete?"),
    (b"BZh", "it is a bzip2 file with no tar archive in it, or a "
     "damaged one; is the download complete?"),
    (b"\xfd7zXZ\0", "it is an xz file with no tar archive in it, or a "
     "damaged one; is the download complete?"),
    (b"PAR1", "it is a Parquet file: if it has paths and labels, name the folder of the images as "
     "the source and this by split.labels; if it has the images themselves, write them to files"),
    (b"ARROW1", "it is an Arrow file; write the images in it to files first"),
    (b"\x80", "it is a file of Python's pickle, which may run programs and is not read; write the "
     "images in it to files first"),
    (b"SQLite format 3", "it is a database; write the images in it to files first"),
)  # fmt: skip
_ARCHIVE = re.compile(r"\.(zip|tar|tgz|tbz2|txz|tar\.\w+)$")
_PART = re.compile(r"(\.z\d\d|\.r\d\d|\.part\d+\.rar|\.\d{3})$", re.IGNORECASE)
_DISKS = (".iso", ".dmg", ".img", ".vhd", ".vhdx", ".vmdk", ".qcow2")
_TABLES = (".csv", ".tsv", ".txt", ".json", ".jsonl", ".xlsx")
_END_OF_ZIP, _LONGEST_COMMENT, _NO_DISK = b"PK\5\6", 65_535, 0xFFFF


def describe_no_archive(source: Path) -> str:
    """The end of a sentence: what a file is that is not read as an archive, and what to do."""
    with source.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    name = source.name.lower()
    if not head:
        return "it is empty; is the download complete?"
    if _PART.search(name):
        return "it is one part of a split archive; join them: 7z x on the first part"
    for signature, what in _SIGNATURES:
        if head.startswith(signature):
            return what
    if head[257:262] == b"ustar":
        return "it begins as a tar archive and is cut off; is the download complete?"
    if IMAGE_NAME.search(name):
        return "it is one image; give the folder of class folders that it lies in"
    if name.endswith(_TABLES):
        return "it is a table; give the folder of the images, and the table by split.labels"
    if kind := describe_unreadable(head):
        is_archive = _ARCHIVE.search(name) and "download" not in kind
        return f"it is {kind}" + ("; is the download complete?" if is_archive else "")
    return "is the download complete?"


def check_no_disk(source: Path) -> None:
    """Refuse images of disks, which pass for empty tar archives.

    Raises:
        PipelineError: the name says that it is one.
    """
    if source.name.lower().endswith(_DISKS):
        raise PipelineError(
            f"split.source = {str(source)!r} is an image of a disk; open it, copy the folder out "
            "of it, and give that"
        )


def check_whole_zip(source: Path) -> None:
    """Refuse one part of a zip archive that was divided: its members lie in the other parts.

    Raises:
        PipelineError: it is one.
    """
    with source.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(size - _LONGEST_COMMENT - 22, 0))
        tail = file.read()
    end = tail.rfind(_END_OF_ZIP)
    disk = int.from_bytes(tail[end + 4 : end + 6], "little") if end >= 0 else 0
    first = source.with_suffix(".z01")
    if 0 < disk < _NO_DISK or first.exists():
        raise PipelineError(
            f"split.source = {str(source)!r} is one part of a split zip archive; join the parts "
            "first: zip -s 0 PART.zip --out WHOLE.zip, or 7z x"
        )
