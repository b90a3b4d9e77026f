"""The user's images: a folder, a `.zip`, a `.tar(.gz)` or a URL of class folders, read as one
stream of entries.

What cannot be taken (a path that climbs out, a link, a damaged member) comes as an entry with its
problem, in its place.
"""

import errno
import os
import shlex
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from transfer.runtime.errors import PipelineError
from transfer.sources.archives import is_tar, is_zip, read_tar, read_zip
from transfer.sources.bucket import list_images
from transfer.sources.not_archives import check_no_disk, describe_no_archive
from transfer.sources.source_file import (
    SourceFile,
    clutter_of,
    name_problem,
    printable,
    size_problem,
)
from transfer.storage.object_store import is_url

MAX_ENTRIES = 5_000_000  # an archive of kilobytes can list more than fit in memory

LOCKED = "a folder that cannot be opened"  # the beginning of its problem
_FOLLOW = "split.follow_links: true reads it"
# An experiment in a temporary folder runs there.
_TEMPORARY = ".dvc/tmp/exps"


def read_source(
    source: Path | str,
    wanted: Collection[str] | None = None,
    *,
    follow_links: bool = False,
    on_clutter: Callable[[str], None] = lambda path: None,
    on_remark: Callable[[str], None] = lambda sentence: None,
    later: bool = False,
) -> Iterator[SourceFile]:
    """Stream the entries of a folder, an archive or a URL, one in memory at a time, in the source's
    own order.

    Hidden files and the clutter of desktops (`.DS_Store`, `__MACOSX`, `Thumbs.db`) are passed over.
    With `wanted`, only those paths are yielded, of a folder and a URL in the order of `wanted`. The
    entries of a URL have no content before they are asked to `load`.

    Args:
        follow_links: whether symbolic links in a folder are read that lead out of it or to folders.
        on_clutter: called with what is passed over, a folder once for all that lies in it.
        on_remark: called with a sentence on how an archive is read, where that was guessed.
        later: whether the entries of an archive, too, have no content before they are asked to
            `load`, if they can be read at their places.

    Raises:
        PipelineError: the source is missing, is none of these, cannot be opened, or is an archive
            of more than MAX_ENTRIES files and folders.
    """
    if is_url(str(source)):
        yield from list_images(str(source), wanted, on_clutter)
        return
    source = Path(source)
    if not source.exists():
        raise PipelineError(
            f"split.source = {str(source)!r}: no such folder or archive; {_remedy(source)}"
        )
    if not (source.is_dir() or source.is_file()):
        raise PipelineError(
            f"split.source = {str(source)!r} is neither a folder nor a file, but a pipe or a device"
        )
    if source.is_dir():
        yield from _read_folder(source, wanted, follow_links, on_clutter)
        return
    seen = set()
    entries = _archive_reader(source)(source, wanted, on_clutter, on_remark, later)
    for number, entry in enumerate(entries):
        if number == MAX_ENTRIES:
            raise PipelineError(
                f"split.source = {str(source)!r}: more than {MAX_ENTRIES:,} files and folders; "
                "divide it"
            )
        if entry.path in seen and not entry.is_folder:
            entry = SourceFile(entry.path, problem="a second file of the same name in the archive")
        seen.add(entry.path)
        yield entry


def how_to_pull(source: Path) -> str:
    """What to do about a source that is missing and that DVC tracks, alone or in a folder around
    it, as the end of a sentence; empty where DVC does not."""
    for place in (source, *source.parents):
        note = Path(f"{place}.dvc")
        if place.name and note.is_file():
            return f"; DVC tracks it: dvc pull {shlex.quote(os.path.relpath(note))}"
    return ""


def _remedy(source: Path) -> str:
    if pull := how_to_pull(source):
        return pull.removeprefix("; ")
    if _TEMPORARY in Path.cwd().as_posix() and not source.is_absolute():
        return (
            "this is an experiment in a temporary folder, which has only what git and DVC track: "
            "give an absolute path, or `dvc add` the source"
        )
    return "give a path that exists"


def _archive_reader(source: Path):
    check_no_disk(source)
    if is_tar(source):  # first, since a tar that holds a zip passes for a zip
        return read_tar
    if is_zip(source):
        return read_zip
    raise PipelineError(
        f"split.source = {str(source)!r}: neither a folder nor a .zip, .tar or .tar.gz that can be "
        f"opened; {describe_no_archive(source)}"
    )


def _read_folder(
    root: Path,
    wanted: Collection[str] | None,
    follow_links: bool,
    on_clutter: Callable[[str], None],
) -> Iterator[SourceFile]:
    inside = root.resolve()
    if wanted is not None:
        files = ((root / path, path) for path in wanted)
        yield from (
            _read_file(file, path)
            for file, path in files
            if file.is_file() and (follow_links or file.resolve().is_relative_to(inside))
        )
        return
    waiting = _children(root)  # a list, since folders may be nested deeper than functions
    linked = {inside}  # folders that links have led to, lest one leads round in a circle
    while waiting:
        child = waiting.pop()
        path = Path(child.path).relative_to(root).as_posix()
        if clutter_of(path):
            on_clutter(path)
            continue
        try:
            kind = _kind_of(child, inside, linked, follow_links)
            inner = _children(Path(child.path)) if kind == "folder" else []
        except OSError as error:  # a folder that is locked or damaged; the others may be sound
            yield SourceFile(printable(path), problem=f"{LOCKED}: {_reason(error)}")
            continue
        if kind == "folder":
            yield SourceFile(printable(path) + "/")
            waiting += inner
        elif kind == "file":
            yield _read_file(Path(child.path), path)
        else:
            yield SourceFile(printable(path), problem=kind)


def _children(folder: Path) -> list[os.DirEntry]:
    """What lies in a folder, the first by name at the end."""
    with os.scandir(folder) as scan:
        return sorted(scan, key=lambda child: child.name, reverse=True)


def _reason(error: OSError) -> str:
    return error.strerror or str(error)


def _kind_of(child: os.DirEntry, inside: Path, linked: set[Path], follow_links: bool) -> str:
    """`file`, `folder`, or why it is not read. Adds the folder that a link leads to to `linked`."""
    if child.is_symlink():
        return _kind_of_link(Path(child.path), inside, linked, follow_links)
    if child.is_dir(follow_symlinks=False):
        return "folder"
    return "file" if child.is_file(follow_symlinks=False) else "not a regular file"


def _kind_of_link(link: Path, inside: Path, linked: set[Path], follow_links: bool) -> str:
    try:
        target = link.resolve(strict=True)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP):
            return "a broken link"
        return f"a link that cannot be followed: {_reason(error)}"
    except RuntimeError:  # a link that leads to itself, in older Pythons
        return "a broken link"
    if follow_links and target.is_dir():
        if target in linked or link.parent.resolve().is_relative_to(target):
            return "a link to a folder that is read already"
        linked.add(target)
        return "folder"
    if not follow_links and not target.is_relative_to(inside):
        return f"a link that leaves the folder; {_FOLLOW}"
    if target.is_file():
        return "file"
    return (
        f"a link to a folder; {_FOLLOW}"
        if target.is_dir()
        else "a link to something else than a file"
    )


def _read_file(file: Path, path: str) -> SourceFile:
    if problem := name_problem(path):
        if "UTF-8" in problem:  # of which DVC tracks no folder
            problem += ", with convmv say, or put the folder into a .tar: its names are read"
        return SourceFile(printable(path), problem=problem)
    try:
        if problem := size_problem(file.stat().st_size):
            return SourceFile(path, problem=problem)
        return SourceFile(path, content=file.read_bytes())
    except OSError as error:
        return SourceFile(path, problem=f"cannot be read: {_reason(error)}")
