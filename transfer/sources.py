"""The user's images: a folder, a `.zip` or a `.tar(.gz)` of class folders, read as one stream of entries.

Archives are read in memory and never unpacked, so nothing in them can be written anywhere. What cannot be taken
(a path that climbs out, a link, a damaged member) comes as an entry with its problem, in its place.
"""

import lzma
import os
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from transfer.errors import PipelineError

MAX_FILE_BYTES = 256 * 2**20
MAX_ENTRIES = 5_000_000  # an archive of kilobytes can list more than fit in memory
MAX_HEADER_BYTES = 2**20  # of a tar's long names and pax records
_PIECE = 4096  # bytes of a member read at once
_SPLIT_FOLDERS = {"train": "train", "validation": "validation", "val": "validation", "valid": "validation", "test": "test"}
_CLUTTER = {"__MACOSX", "Thumbs.db", "desktop.ini"}
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# What reading a damaged archive raises: the libraries let through what their decompressors and parsers do.
_DAMAGE = (
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, OSError, RuntimeError, NotImplementedError, ValueError, OverflowError),
)
_HEADERS = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)


@dataclass(frozen=True)
class Entry:
    """One file of a source.

    path: POSIX path inside the source; a folder's ends in `/`.
    content: the file's bytes; None for a folder, for a file with a problem and for one that was not wanted.
    problem: why it cannot be taken, or None.
    """

    path: str
    content: bytes | None = None
    problem: str | None = None


def read_source(source: Path, wanted: Container[str] | None = None) -> Iterator[Entry]:
    """Stream the entries of a folder or an archive, one in memory at a time, in the source's own order.

    Hidden files and the clutter of desktops (`.DS_Store`, `__MACOSX`, `Thumbs.db`) are passed over. With `wanted`,
    only those paths are read and yielded.

    Raises:
        PipelineError: the source is missing, is neither a folder nor an archive that can be opened, or holds too much.
    """
    if not source.exists():
        raise PipelineError(f"split.source = {str(source)!r}: no such folder or archive; give a path that exists")
    read = _reader_of(source)
    seen = set()
    for number, entry in enumerate(read(source, wanted)):
        if number == MAX_ENTRIES:
            raise PipelineError(f"split.source = {str(source)!r}: more than {MAX_ENTRIES:,} files and folders; divide it")
        if entry.path in seen and not entry.path.endswith("/"):
            entry = Entry(entry.path, problem="a second file of the same name in the archive")
        seen.add(entry.path)
        yield entry


def _reader_of(source: Path):
    if source.is_dir():
        return _read_folder
    if _is_tar(source):  # first, since a tar that holds a zip passes for a zip
        return _read_tar
    if _is_zip(source):
        return _read_zip
    raise PipelineError(
        f"split.source = {str(source)!r}: neither a folder nor a .zip, .tar or .tar.gz that can be opened; is the download complete?"
    )


def _is_tar(source: Path) -> bool:
    try:
        with _open_tar(source):
            return True
    except _DAMAGE as error:
        if getattr(error, "errno", None):  # the machine's refusal, not the file's content
            raise
        return False


def _is_zip(source: Path) -> bool:
    try:
        return zipfile.is_zipfile(source)
    except _DAMAGE:  # it has begun to be one; opening it says what is wrong
        return True


def _read_folder(root: Path, wanted: Container[str] | None) -> Iterator[Entry]:
    inside = root.resolve()

    waiting = _children(root)  # a list, since folders may be nested deeper than functions
    while waiting:
        child = waiting.pop()
        path = Path(child.path).relative_to(root).as_posix()
        if _is_clutter(path):
            continue
        if child.is_symlink() and (problem := _link_problem(Path(child.path), inside)):
            yield Entry(_printable(path), problem=problem)
        elif child.is_dir(follow_symlinks=False):
            yield Entry(_printable(path) + "/")
            waiting += _children(Path(child.path))
        elif not child.is_file():
            yield Entry(_printable(path), problem="not a regular file")
        elif wanted is None or path in wanted:
            yield _read_file(Path(child.path), path)


def _children(folder: Path) -> list[os.DirEntry]:
    """What lies in a folder, the first by name at the end."""
    with os.scandir(folder) as scan:
        return sorted(scan, key=lambda child: child.name, reverse=True)


def _link_problem(link: Path, inside: Path) -> str | None:
    try:
        target = link.resolve(strict=True)
    except (OSError, RuntimeError):  # the target is missing, or the link leads to itself
        return "a broken link"
    if not target.is_relative_to(inside):
        return "a link that leaves the folder"
    return None if target.is_file() else "a link to something else than a file; put the folder itself there"


def _read_file(file: Path, path: str) -> Entry:
    if problem := _name_problem(path):
        return Entry(_printable(path), problem=problem)
    try:
        if file.stat().st_size > MAX_FILE_BYTES:
            return Entry(path, problem=_too_large(file.stat().st_size))
        return Entry(path, content=file.read_bytes())
    except OSError as error:
        return Entry(path, problem=f"cannot be read: {error.strerror}")


def _read_zip(source: Path, wanted: Container[str] | None) -> Iterator[Entry]:
    try:
        archive = zipfile.ZipFile(source)
    except _DAMAGE as error:
        raise PipelineError(f"split.source = {str(source)!r}: a damaged zip archive ({error}); is the download complete?") from None
    with archive:
        for member in archive.infolist():
            path, problem = _zip_name(member)
            is_folder = member.filename.endswith(("/", "\\"))
            if _is_clutter(path):
                continue
            problem = problem or _name_problem(path)
            if problem:
                yield Entry(_printable(path), problem=problem)
            elif is_folder:
                yield Entry(path + "/")
            elif stat.S_ISLNK(member.external_attr >> 16):
                yield Entry(path, problem="a link inside an archive")
            elif member.file_size > MAX_FILE_BYTES:
                yield Entry(path, problem=_too_large(member.file_size))
            elif wanted is None or path in wanted:
                yield _read_member(archive, member, path)


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: str) -> Entry:
    if member.flag_bits & 0x1:
        return Entry(path, problem="encrypted; archive it again without a password")
    if member.compress_type == zipfile.ZIP_BZIP2:  # a piece of it can become gigabytes, in one call
        return Entry(path, problem="packed with bzip2; archive it again as an ordinary zip")
    try:
        with archive.open(member) as file:
            # In pieces, since zipfile unpacks LZMA as far as the bytes of one call go, whatever size the member claims.
            return Entry(path, content=b"".join(iter(lambda: file.read(_PIECE), b"")))
    except _DAMAGE as error:
        return Entry(path, problem=f"a damaged member of the archive: {error}")


def _zip_name(member: zipfile.ZipInfo) -> tuple[str, str | None]:
    """The member's path, and what is wrong with its encoding.

    Python decodes a name without the UTF-8 flag as code page 437, as the format says; many programs write UTF-8
    there all the same, so the raw bytes are tried as that.
    """
    path, problem = member.filename, None
    if not member.flag_bits & 0x800:
        try:
            path = path.encode("cp437").decode("utf-8")
        except UnicodeEncodeError:
            pass  # newer Pythons take the name from an extra field, which is UTF-8
        except UnicodeDecodeError:
            problem = "the name is not UTF-8; rename it"
    return _tidy(path.replace("\\", "/")), problem


class _Member(tarfile.TarInfo):
    """Refuses headers that would fill the memory: `tarfile` reads names, pax records and the maps of sparse files whole."""

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:  # which tarfile's source invites to override
        held = sum(len(key) + len(value) for key, value in archive.pax_headers.items())
        if self.type in _HEADERS and held + self.size > MAX_HEADER_BYTES:
            raise _damaged_tar(archive.name, f"a header of {held + self.size:,} bytes, more than the {MAX_HEADER_BYTES:,} that are allowed")
        if self.type == tarfile.GNUTYPE_SPARSE:
            raise _sparse_tar(archive.name)
        return super()._proc_member(archive)

    def _proc_gnusparse_10(self, following: tarfile.TarInfo, records: dict, archive: tarfile.TarFile) -> None:
        raise _sparse_tar(archive.name)


def _damaged_tar(source: Path | str, problem: object) -> PipelineError:
    return PipelineError(f"split.source = {str(source)!r}: a damaged tar archive ({problem}); is the download complete?")


def _sparse_tar(source: str) -> PipelineError:
    return PipelineError(f"split.source = {source!r}: a tar archive with sparse files; make it again without --sparse")


def _open_tar(source: Path) -> tarfile.TarFile:
    return tarfile.open(source, encoding="utf-8", errors="surrogateescape", tarinfo=_Member)


def _read_tar(source: Path, wanted: Container[str] | None) -> Iterator[Entry]:
    try:
        with _open_tar(source) as archive:
            for member in archive:
                archive.members.clear()  # tarfile would keep them all
                if member.size < 0:  # the next one would be this one again, forever
                    raise tarfile.ReadError(f"a member of {member.size:,} bytes")
                path = _tidy(member.name)
                if _is_clutter(path):
                    continue
                if problem := _name_problem(path):
                    yield Entry(_printable(path), problem=problem)
                elif member.isdir():
                    yield Entry(path + "/")
                elif not member.isfile():
                    yield Entry(path, problem="a link inside an archive" if member.issym() or member.islnk() else "not a regular file")
                elif member.size > MAX_FILE_BYTES:
                    yield Entry(path, problem=_too_large(member.size))
                elif wanted is None or path in wanted:
                    yield Entry(path, content=archive.extractfile(member).read())
            _check_tar_end(archive)
    except _DAMAGE as error:
        raise _damaged_tar(source, error) from None


def _check_tar_end(archive: tarfile.TarFile) -> None:
    """`tarfile` takes a damaged header, or a file cut off between two members, for the end and says nothing."""
    archive.fileobj.seek(archive.offset)
    if archive.fileobj.read(tarfile.BLOCKSIZE) != tarfile.NUL * tarfile.BLOCKSIZE:
        raise tarfile.ReadError(f"it breaks off at byte {archive.offset:,}")
    while archive.fileobj.read(2**20):  # gzip compares its checksum at the end of the stream
        pass


def _tidy(path: str) -> str:
    """Drop `./` and doubled slashes, keep a leading `/` and `..` for `_name_problem` to see."""
    return str(PurePosixPath(path))


def _is_clutter(path: str) -> bool:
    """Hidden, or left by a desktop; or `.`, the source itself, which some archives list."""
    return path == "." or not _climbs(path) and any(part in _CLUTTER or part.startswith(".") for part in path.split("/"))


def _climbs(path: str) -> bool:
    path = path.replace("\\", "/")
    return path.startswith("/") or ".." in path.split("/") or path[1:3] == ":/"


def _name_problem(path: str) -> str | None:
    if _climbs(path):
        return "the path climbs out of the source"
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return "the name is not UTF-8; rename it"
    if _CONTROL.search(path):
        return "the name holds a control character, such as a line break; rename it"
    return None


def _printable(path: str) -> str:
    """The path with undecodable bytes and control characters as `\\xNN`, fit for a line of a UTF-8 file."""
    path = path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return _CONTROL.sub(lambda character: f"\\x{ord(character[0]):02x}", path)


def _too_large(size: int) -> str:
    return f"{size:,} bytes, more than the {MAX_FILE_BYTES:,} that one image may have"


@dataclass(frozen=True)
class Layout:
    """Where a source keeps its classes.

    depth: folders in front of the class folder that every path shares (a single wrapping folder, say).
    is_split: the level under them is train/validation/test, and the classes lie below that.
    """

    depth: int
    is_split: bool

    def place(self, path: str) -> tuple[str | None, str] | None:
        """Split (None unless pre-split) and class of a file, or None when it lies in no class folder."""
        if _climbs(path):
            return None
        parts = path.split("/")[self.depth :]
        split = _SPLIT_FOLDERS.get(parts.pop(0).lower()) if self.is_split else None
        return (split, parts[0]) if len(parts) >= 2 and (split or not self.is_split) else None


def find_layout(paths: Iterable[str], source: Path) -> Layout:
    """Find the class folders among the paths of files and folders (the latter end in `/`).

    A folder that is alone at its level and holds folders is a wrapper and is looked through. `source` is for messages.

    Raises:
        PipelineError: no folders at all, or some of train/validation/test but not just these three, each once.
    """
    parts = [path.split("/") for path in paths if not _climbs(path)]
    depth = 0
    while True:
        tops = {p[depth] for p in parts if len(p) > depth + 1}
        if len(tops) != 1 or not any(len(p) > depth + 2 and p[depth + 1] for p in parts):
            break
        depth += 1
    if not tops:
        raise PipelineError(f"split.source = {str(source)!r} holds no class folders; put each class's images in a folder of its own")
    splits = [_SPLIT_FOLDERS[top.lower()] for top in tops if top.lower() in _SPLIT_FOLDERS]
    if len(splits) < 2:  # a single one may well be a class: trains among vehicles
        return Layout(depth, is_split=False)
    if sorted(splits) != ["test", "train", "validation"] or len(tops) != 3:
        raise PipelineError(
            f"split.source = {str(source)!r} looks already split, but into the folders {', '.join(sorted(tops))}; "
            "it needs train, validation (or val, valid) and test, each once and nothing beside them, or class folders only"
        )
    return Layout(depth, is_split=True)
