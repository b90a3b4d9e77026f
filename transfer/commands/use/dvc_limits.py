"""What lies in a folder of images at which DVC stops, waits or runs again, though `split` passes it
over; and what to do."""

import itertools
import os
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from transfer.commands.use.survey import Survey
from transfer.labels.listing import first_few
from transfer.sources.name_encodings import encoding_of_names, is_utf8
from transfer.storage.object_store import is_url

# Beginnings of the problems of files that DVC cannot read either, or waits for.
_UNREADABLE = (
    "a broken link",
    "not a regular file",
    "a link that cannot be followed",
    "cannot be read",
    "a folder that cannot be opened",
)
# What systems write again and again into folders that people look at.
_RETURNING = re.compile(
    r"\._.*|\.DS_Store|\.directory|(eh)?thumbs\.db|desktop\.ini|@eaDir", re.IGNORECASE
)
_NAMES_READ = 100_000
# Python's names of code pages that convmv calls otherwise
_CONVMV = {"gbk": "cp936", "big5": "cp950", "koi8_r": "koi8-r"}


def advise_on_dvc(source: str, found: Survey, passed_over: Sequence[str]) -> list[str]:
    """Sentences on what makes `dvc repro` fail, wait, or run again; none for archives and buckets,
    of which DVC reads one file or none.

    Args:
        passed_over: paths of clutter in the source.
    """
    if is_url(source) or not Path(source).is_dir():
        return []
    sentences = []
    stops = [
        f"{file.path} ({file.problem})"
        for file in found.files
        if (file.problem or "").startswith(_UNREADABLE)
    ]
    if stops:
        sentences.append(
            f"`dvc repro` fails at {first_few(stops)}, or waits for it: DVC reads every file of "
            f"{source}; remove what is none, or move it elsewhere"
        )
    if ignores := [path for path in passed_over if PurePosixPath(path).name == ".dvcignore"]:
        sentences.append(
            f"`dvc repro` fails at {source}/{ignores[0]}, since DVC allows no .dvcignore inside a "
            "dependency: remove it"
        )
    if any("the name is not UTF-8" in (file.problem or "") for file in found.files):
        sentences.append(_on_names(source))
    returns = any(_RETURNING.fullmatch(PurePosixPath(path).name) for path in passed_over)
    if returns and not ignores and Path(source).is_absolute() and not Path(source).is_symlink():
        link = _free_name(PurePosixPath(source).name)
        sentences.append(
            "DVC passes over clutter inside the project only: when more of it appears in "
            f"{source}, split, decode, audit and report run again, but no training. To avoid that, "
            f"make a link and use it: ln -s {shlex.quote(source)} {shlex.quote(link)} && python -m "
            f"transfer use {shlex.quote(link)}"
        )
    return sentences


def _free_name(name: str) -> str:
    """A name for a new file in the project that is like this one: `ln -s` and `tar` would otherwise
    write into what is there, such as the project's own `data`."""
    names = itertools.chain([name], (f"{number}-{name}" for number in itertools.count(2)))
    return next(each for each in names if not os.path.lexists(each))


def _on_names(source: str) -> str:
    """What to do about names that are not UTF-8, with the code page that fits them."""
    names = list(itertools.islice(_names_not_utf8(source), _NAMES_READ))
    encoding = encoding_of_names(names).encoding
    example = next((name.decode(encoding, "replace") for name in names), "")
    folder = PurePosixPath(os.path.abspath(source))  # noqa: PTH100  links stay
    tar = shlex.quote(_free_name(f"{folder.name}.tar"))
    return (
        f"`dvc repro` fails at {source}, since DVC refuses names that are not UTF-8. They fit "
        f"{encoding} (the first is {example!r} then); either rename them: convmv -f "
        f"{_CONVMV.get(encoding, encoding)} -t utf8 -r --notest {shlex.quote(source)}, or pack the "
        f"folder, whose names are read then: tar -cf {tar} -C {shlex.quote(str(folder.parent))} "
        f"{shlex.quote(folder.name)} && python -m transfer use {tar}"
    )


def _names_not_utf8(source: str) -> Iterator[bytes]:
    for _, folders, files in os.walk(os.fsencode(source)):
        yield from (name for name in sorted([*folders, *files]) if not is_utf8(name))
