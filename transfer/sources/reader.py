"""The user's images: a folder, a `.zip`, a `.tar(.gz)` or a URL of class folders, read as one
stream of entries.

What cannot be taken (a path that climbs out, a link, a damaged member) comes as an entry with its
problem, in its place.
"""

import os
from collections.abc import Collection, Iterator
from pathlib import Path

from transfer.runtime.errors import PipelineError
from transfer.sources.archives import is_tar, is_zip, read_tar, read_zip
from transfer.sources.bucket import list_images
from transfer.sources.source_file import (
    SourceFile,
    is_clutter,
    name_problem,
    printable,
    size_problem,
)
from transfer.storage.object_store import is_url

MAX_ENTRIES = 5_000_000  # an archive of kilobytes can list more than fit in memory


def read_source(source: Path | str, wanted: Collection[str] | None = None) -> Iterator[SourceFile]:
    """Stream the entries of a folder, an archive or a URL, one in memory at a time, in the source's
    own order.

    Hidden files and the clutter of desktops (`.DS_Store`, `__MACOSX`, `Thumbs.db`) are passed over.
    With `wanted`, only those paths are yielded, of a folder and a URL in the order of `wanted`. The
    entries of a URL have no content before they are asked to `load`.

    Raises:
        PipelineError: the source is missing, is none of these or cannot be opened, or holds too
            much.
    """
    if is_url(str(source)):
        yield from list_images(str(source), wanted)
        return
    source = Path(source)
    if not source.exists():
        raise PipelineError(
            f"split.source = {str(source)!r}: no such folder or archive; give a path that exists"
        )
    read = _reader_of(source)
    seen = set()
    for number, entry in enumerate(read(source, wanted)):
        if number == MAX_ENTRIES:
            raise PipelineError(
                f"split.source = {str(source)!r}: more than {MAX_ENTRIES:,} files and folders; "
                "divide it"
            )
        if entry.path in seen and not entry.path.endswith("/"):
            entry = SourceFile(entry.path, problem="a second file of the same name in the archive")
        seen.add(entry.path)
        yield entry


def _reader_of(source: Path):
    if source.is_dir():
        return _read_folder
    if is_tar(source):  # first, since a tar that holds a zip passes for a zip
        return read_tar
    if is_zip(source):
        return read_zip
    raise PipelineError(
        f"split.source = {str(source)!r}: neither a folder nor a .zip, .tar or .tar.gz that can be "
        "opened; is the download complete?"
    )


def _read_folder(root: Path, wanted: Collection[str] | None) -> Iterator[SourceFile]:
    inside = root.resolve()
    if wanted is not None:
        files = ((root / path, path) for path in wanted)
        yield from (
            _read_file(file, path)
            for file, path in files
            if file.is_file() and file.resolve().is_relative_to(inside)
        )
        return
    waiting = _children(root)  # a list, since folders may be nested deeper than functions
    while waiting:
        child = waiting.pop()
        path = Path(child.path).relative_to(root).as_posix()
        if is_clutter(path):
            continue
        if child.is_symlink() and (problem := _link_problem(Path(child.path), inside)):
            yield SourceFile(printable(path), problem=problem)
        elif child.is_dir(follow_symlinks=False):
            yield SourceFile(printable(path) + "/")
            waiting += _children(Path(child.path))
        elif not child.is_file():
            yield SourceFile(printable(path), problem="not a regular file")
        else:
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
    return (
        None
        if target.is_file()
        else "a link to something else than a file; put the folder itself there"
    )


def _read_file(file: Path, path: str) -> SourceFile:
    if problem := name_problem(path):
        return SourceFile(printable(path), problem=problem)
    try:
        if problem := size_problem(file.stat().st_size):
            return SourceFile(path, problem=problem)
        return SourceFile(path, content=file.read_bytes())
    except OSError as error:
        return SourceFile(path, problem=f"cannot be read: {error.strerror}")
