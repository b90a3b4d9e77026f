"""`.zip` and `.tar(.gz)`, read in memory and never unpacked,
so that nothing in them can be written anywhere."""

import io
import lzma
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

from transfer.runtime.errors import PipelineError
from transfer.sources.archive_parts import METHODS, PLAIN, ArchivePart
from transfer.sources.name_encodings import NameEncoding, encoding_of_names, is_utf8
from transfer.sources.not_archives import check_whole_zip
from transfer.sources.source_file import (
    SourceFile,
    clutter_of,
    name_problem,
    printable,
    size_problem,
    tidy,
)

ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
MAX_HEADER_BYTES = 2**20  # of a tar's long names and pax records
_NAMES_READ = 100_000  # of a tar, to find out in which code page they are
_PIECE = 4096  # bytes of a member read at once
# What reading a damaged archive raises:
# the libraries let through what their decompressors and parsers do.
_DAMAGE = (
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, OSError, RuntimeError, NotImplementedError, ValueError, OverflowError),
)
_PACKED = {  # methods of zip archives that Python has not
    1: "shrunk, as programs of the 1980s did",
    6: "imploded, as programs of the 1980s did",
    9: "packed with Deflate64, as Windows packs large files",
    93: "packed with Zstandard",
    95: "packed with XZ",
    96: "packed as JPEG",
    97: "packed with WavPack",
    98: "packed with PPMd",
    99: "encrypted with AES",
}
_LINK = "a link inside an archive"
_HEADERS = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)


def is_tar(source: Path) -> bool:
    try:
        with _open_tar(source):
            return True
    except _DAMAGE as error:
        if getattr(error, "errno", None):  # the machine's refusal, not the file's content
            raise
        return False


def is_zip(source: Path) -> bool:
    try:
        return zipfile.is_zipfile(source)
    except _DAMAGE:  # it has begun to be one; opening it says what is wrong
        return True


def read_zip(
    source: Path,
    wanted: Collection[str] | None,
    on_clutter: Callable[[str], None],
    on_remark: Callable[[str], None],
    later: bool = False,
) -> Iterator[SourceFile]:
    """The members of a zip archive; `on_remark` is called with a sentence on how names are read.

    Args:
        later: whether members have no content before they are asked to `load`, if their method of
            compression allows that.

    Raises:
        PipelineError: it is damaged, or one part of a split one.
    """
    check_whole_zip(source)
    try:
        archive = zipfile.ZipFile(source)
    except _DAMAGE as error:
        raise PipelineError(
            f"split.source = {str(source)!r}: a damaged zip archive ({error}); is the download "
            "complete?"
        ) from None
    with archive:
        raw = [
            name
            for member in archive.infolist()
            if (name := _raw_name(member)) and not _unicode_name(member)
        ]
        encoding = encoding_of_names(raw)
        if encoding.guessed:
            on_remark(_describe_encoding(encoding, raw))
        for member in archive.infolist():
            name = _zip_name(member, encoding)
            path, is_folder = tidy(name), name.endswith("/")
            if _is_passed_over(path, wanted, on_clutter):
                continue
            if problem := name_problem(path) or (None if is_folder else _zip_problem(member)):
                yield SourceFile(printable(path), problem=problem)
            elif is_folder:
                yield SourceFile(path + "/")
            else:
                yield _read_member(archive, member, path, later)


def _is_passed_over(
    path: str, wanted: Collection[str] | None, on_clutter: Callable[[str], None]
) -> bool:
    if wanted is not None:
        return path not in wanted
    if clutter := clutter_of(path):
        on_clutter(clutter)
    return clutter is not None


def _zip_problem(member: zipfile.ZipInfo) -> str | None:
    """Why a file of a zip cannot be taken."""
    if stat.S_ISLNK(member.external_attr >> 16):
        return f"{_LINK}; archive it again with links followed"
    if problem := size_problem(member.file_size):
        return problem
    if member.flag_bits & 0x1:
        return "encrypted; archive it again without a password"
    if method := _PACKED.get(member.compress_type):
        return f"{method}; unpack it, or archive it again as zip"
    if member.compress_type == zipfile.ZIP_BZIP2:  # a piece of it can become gigabytes, in one call
        return "packed with bzip2; archive it again as an ordinary zip"
    return None


def _read_member(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: str, later: bool
) -> SourceFile:
    if later and member.compress_type in METHODS:
        place = (member.header_offset, member.compress_size, member.compress_type)
        return SourceFile(path, store=ArchivePart(Path(archive.filename).absolute(), *place))
    try:
        with archive.open(member) as file:
            # In pieces, since zipfile unpacks LZMA as far as the bytes of one call go, whatever
            # size the member claims.
            return SourceFile(path, content=b"".join(iter(lambda: file.read(_PIECE), b"")))
    except _DAMAGE as error:
        return SourceFile(path, problem=f"a damaged member of the archive: {error}")


def _raw_name(member: zipfile.ZipInfo) -> bytes | None:
    """The bytes of a name that does not say that it is UTF-8, which Python decodes as code page
    437; None of others."""
    if member.flag_bits & 0x800:
        return None
    try:
        return member.orig_filename.split("\0")[0].encode("cp437")
    except UnicodeEncodeError:  # newer Pythons take the name from an extra field, which is UTF-8
        return None


def _unicode_name(member: zipfile.ZipInfo) -> str | None:
    """The name in Info-ZIP's extra field for Unicode, if it is of this name."""
    extra, raw = member.extra, _raw_name(member)
    while len(extra) >= 4 and raw is not None:
        kind, length = struct.unpack_from("<HH", extra)
        field, extra = extra[4 : 4 + length], extra[4 + length :]
        start = b"\1" + zlib.crc32(raw).to_bytes(4, "little")
        if kind == 0x7075 and field.startswith(start) and is_utf8(field[5:]):
            return field[5:].decode("utf-8")
    return None


def _zip_name(member: zipfile.ZipInfo, encoding: NameEncoding) -> str:
    """The member's path, with slashes; `encoding` is of names that do not say theirs."""
    path, raw = member.filename, _raw_name(member)
    if unicode_name := _unicode_name(member):
        path = unicode_name
    elif raw is not None:
        path = encoding.decode(raw)
    return path.replace("\\", "/")


def _describe_encoding(encoding: NameEncoding, names: Sequence[bytes]) -> str:
    example = next(encoding.decode(name) for name in names if not name.isascii())
    return (
        f"names in the archive do not say their code page, and are read as {encoding.encoding}, "
        f"which fits them: {printable(example)!r}; if that is wrong, unpack it with the right one "
        "(unzip -O CODEPAGE, 7z x -mcp=CODEPAGE, or tar and then convmv) and give the folder"
    )


class _Member(tarfile.TarInfo):
    """Refuses headers that would fill the memory, because `tarfile` reads names, pax records and
    the maps of sparse files whole; and members of a negative size."""

    # which tarfile's source invites to override
    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        held = sum(len(key) + len(value) for key, value in archive.pax_headers.items())
        if self.type in _HEADERS and held + self.size > MAX_HEADER_BYTES:
            raise _damaged_tar(
                archive.name,
                f"a header of {held + self.size:,} bytes, more than the {MAX_HEADER_BYTES:,} that "
                "are allowed",
            )
        if self.type == tarfile.GNUTYPE_SPARSE:
            raise _sparse_tar(archive.name)
        try:
            return super()._proc_member(archive)
        except tarfile.InvalidHeaderError as error:  # newer Pythons take it for the archive's end
            raise _damaged_tar(archive.name, error) from None

    def _proc_gnusparse_10(
        self, following: tarfile.TarInfo, records: dict, archive: tarfile.TarFile
    ) -> None:
        raise _sparse_tar(archive.name)


def _damaged_tar(source: Path | str, problem: object) -> PipelineError:
    return PipelineError(
        f"split.source = {str(source)!r}: a damaged tar archive ({problem}); is the download "
        "complete?"
    )


def _sparse_tar(source: str) -> PipelineError:
    return PipelineError(
        f"split.source = {source!r}: a tar archive with sparse files; make it again without "
        "--sparse"
    )


def _open_tar(source: Path) -> tarfile.TarFile:
    return tarfile.open(source, encoding="utf-8", errors="surrogateescape", tarinfo=_Member)


def read_tar(
    source: Path,
    wanted: Collection[str] | None,
    on_clutter: Callable[[str], None],
    on_remark: Callable[[str], None],
    later: bool = False,
) -> Iterator[SourceFile]:
    """The members of a tar archive; `on_remark` is called with a sentence on how names are read.

    Args:
        later: whether members have no content before they are asked to `load`, if the archive is
            not compressed.

    Raises:
        PipelineError: it is damaged.
    """
    encoding = None  # of names that are not UTF-8; found when the first one comes
    try:
        with _open_tar(source) as archive:
            is_compressed = not isinstance(archive.fileobj, io.BufferedReader)
            for member in archive:
                archive.members.clear()  # tarfile would keep them all
                if member.size < 0:  # the next one would be this one again, forever
                    raise tarfile.ReadError(f"a member of {member.size:,} bytes")
                if not member.name.isascii():
                    if encoding is None:
                        names = _names_of_tar(source)
                        encoding = encoding_of_names(names)
                        if encoding.guessed:
                            on_remark(_describe_encoding(encoding, names))
                    member.name = encoding.decode(_bytes_of_name(member))
                path = tidy(member.name.replace("\\", "/"))
                if _is_passed_over(path, wanted, on_clutter):
                    continue
                if problem := name_problem(path) or _tar_problem(member):
                    yield SourceFile(printable(path), problem=problem)
                elif member.isdir():
                    yield SourceFile(path + "/")
                elif later and not is_compressed:
                    place = (member.offset_data, member.size, PLAIN)
                    yield SourceFile(path, store=ArchivePart(source.absolute(), *place))
                else:
                    yield SourceFile(path, content=archive.extractfile(member).read())
            _check_tar_end(archive)
    except _DAMAGE as error:
        raise _damaged_tar(source, error) from None


def _tar_problem(member: tarfile.TarInfo) -> str | None:
    """Why a file of a tar cannot be taken; None of folders too."""
    if member.issym():
        return f"{_LINK}; archive it again with tar --dereference"
    if member.islnk():
        return f"{_LINK}; archive it again with tar --hard-dereference"
    if not (member.isfile() or member.isdir()):
        return "not a regular file"
    return size_problem(member.size)


def _bytes_of_name(member: tarfile.TarInfo) -> bytes:
    return member.name.encode("utf-8", "surrogateescape")


def _names_of_tar(source: Path) -> list[bytes]:
    """The names of an archive that are not ASCII, whose headers are read for it."""
    names = set()
    with _open_tar(source) as archive:
        for number, member in enumerate(archive):
            archive.members.clear()
            if member.size < 0 or number == _NAMES_READ:
                break
            if not member.name.isascii():
                names.add(_bytes_of_name(member))
    return sorted(names)


def _check_tar_end(archive: tarfile.TarFile) -> None:
    """`tarfile` takes a damaged header, or a file cut off between two members,
    for the end and says nothing."""
    archive.fileobj.seek(archive.offset)
    if archive.fileobj.read(tarfile.BLOCKSIZE) != tarfile.NUL * tarfile.BLOCKSIZE:
        raise tarfile.ReadError(f"it breaks off at byte {archive.offset:,}")
    while archive.fileobj.read(2**20):  # gzip compares its checksum at the end of the stream
        pass
