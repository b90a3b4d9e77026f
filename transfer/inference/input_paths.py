"""Turns the paths of the command line into one stream of image files: files, folders, archives,
globs, and a list on standard input.

Nothing is read before it is asked for. Folders and archives go through `transfer.sources.reader`,
with its limits and refusals.
"""

import codecs
import glob
import os
import re
import stat
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from transfer.runtime.errors import PipelineError
from transfer.sources.archives import ENDINGS
from transfer.sources.reader import read_source
from transfer.sources.source_file import SourceFile, size_problem

STDIN = "-"
_PIECE = 2**16
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")


def check_given(given: Iterable[str]) -> None:
    """Check all paths of the command line, before seconds are spent on loading a network.

    Raises:
        PipelineError: a path that does not exist, a glob without a match, a folder or archive
            without a file in it, or one that cannot be opened.
    """
    for name in given:
        if name == STDIN:
            continue
        if not os.path.lexists(name):
            if not glob.has_magic(name):
                raise PipelineError(f"{name!r}: no such file or folder{_hint(name)}")
            if next(_matches(name), None) is None:
                raise PipelineError(
                    f"{name!r}: no file matches; in quotes, `**` stands for any number of folders"
                )
        elif _is_many(name) and not any(True for _ in _read_many(name)):
            raise PipelineError(f"{name!r}: no files in it")


def read_given(
    given: Iterable[str], stdin: BinaryIO | None = None, end: bytes = b"\n"
) -> Iterator[SourceFile]:
    """Stream all image files, in the order in which they were named; a folder's are sorted.

    As in `split`, every file of a folder or archive counts, except hidden files and those that
    desktops leave behind. A glob stands for the files that it matches, sorted. `-` is a list of
    paths, each ended by `end`; they may be folders and archives, but not globs, because file names
    may contain brackets. A file that cannot be read is an entry with its problem, in its place.

    Args:
        stdin: the list for `-`; by default the process's own.
    """
    for name in given:
        if name == STDIN:
            for path in read_list(stdin or sys.stdin.buffer, end):
                yield from _read(path)
        elif not os.path.lexists(name) and glob.has_magic(name):
            for path in _matches(name):
                yield from _read(path)
        else:
            yield from _read(name)


def read_list(file: BinaryIO, end: bytes) -> Iterator[str]:
    """The paths of a list, each as soon as it is complete; empty ones are skipped.

    Lists that Windows writes are read too: in UTF-16, with a byte order mark, with carriage returns
    at the ends of lines.
    """
    start = file.read1(_PIECE)
    if start[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        lines = (start + file.read()).decode("utf-16", "replace").split(end.decode())
        yield from filter(None, map(_without_return, lines))
        return
    # a mark alone is not the end of the list
    rest, piece = b"", file.read1(_PIECE) if start == codecs.BOM_UTF8 else start
    piece = piece.removeprefix(codecs.BOM_UTF8)
    while piece:
        *whole, rest = (rest + piece).split(end)
        yield from (_without_return(os.fsdecode(path)) for path in whole if path.rstrip(b"\r"))
        piece = file.read1(_PIECE)
    if rest:
        yield _without_return(os.fsdecode(rest))


def _without_return(path: str) -> str:
    """A path without the carriage return that Windows writes at its end, unless a file has it."""
    return path if not path.endswith("\r") or os.path.lexists(path) else path[:-1]


def _matches(pattern: str) -> Iterator[str]:
    pattern = _with_existing_folders_as_named(pattern)
    found = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207, which knows no absolute patterns
    return (path for path in found if not Path(path).is_dir())


def _with_existing_folders_as_named(pattern: str) -> str:
    """The glob whose leading folders, if they exist under just this name, stand for themselves:
    names of folders may have brackets."""
    ends = [place for place, letter in enumerate(pattern) if letter == "/" and place]
    for end in reversed(ends):
        if os.path.lexists(pattern[:end]):
            return glob.escape(pattern[:end]) + pattern[end:]
    return pattern


def _is_many(name: str) -> bool:
    # by name, since opening each image would take long
    return Path(name).is_dir() or name.lower().endswith(ENDINGS)


def _read(name: str) -> Iterator[SourceFile]:
    """The files behind one path. A problem is an entry and not an error, because the next path may
    be readable."""
    found = False
    try:
        for entry in _read_many(name) if _is_many(name) else [_read_file(name)]:
            found = True
            yield entry
    except PipelineError as error:
        yield SourceFile(_printable(name), problem=str(error))
    except OSError as error:
        yield SourceFile(
            _printable(error.filename or name), problem=f"cannot be read: {error.strerror}"
        )
    else:
        if not found:
            yield SourceFile(_printable(name), problem="no files in it")


def _read_many(name: str) -> Iterator[SourceFile]:
    """The files of a folder or an archive, each with the path that leads there."""
    prefix = _printable(name.rstrip("/") or "/").rstrip("/") + "/"
    try:
        for entry in read_source(Path(name)):
            if not entry.path.endswith("/"):
                yield SourceFile(prefix + entry.path, entry.content, entry.problem)
    except PipelineError as error:  # the reader names the parameter that usually brings it a source
        raise PipelineError(str(error).removeprefix("split.source = ")) from None


def _read_file(name: str) -> SourceFile:
    shown = _printable(name)
    try:
        status = Path(name).stat()
        if not stat.S_ISREG(status.st_mode):  # a pipe might never end
            return SourceFile(shown, problem="not a regular file")
        if problem := size_problem(status.st_size):
            return SourceFile(shown, problem=problem)
        return SourceFile(shown, content=Path(name).read_bytes())
    except FileNotFoundError:
        return SourceFile(shown, problem=f"no such file{_hint(name)}")
    except OSError as error:
        return SourceFile(shown, problem=f"cannot be read: {error.strerror}")
    except ValueError:
        return SourceFile(
            shown,
            problem=(
                "no path: it holds a null byte; a list of paths that end in one is read with --null"
            ),
        )


def _hint(name: str) -> str:
    """What to do about a path that does not exist, if it shows that; else nothing."""
    if name.startswith("file:/"):
        return "; name it by its path, without file:"
    if _ADDRESS.match(name):
        return "; it is an address: download it and name the file"
    if len(name) > 2 and name[0] == name[-1] and name[0] in "\"'":
        return "; the quotes around it are taken for a part of the name: remove them"
    return ""


def _printable(name: str) -> str:
    """A path as text that can be encoded: bytes that are not UTF-8 as `\\xNN`."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
