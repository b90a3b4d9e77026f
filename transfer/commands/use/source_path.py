"""A path as a person types it, as params.yaml and DVC take it."""

import difflib
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

from transfer.runtime.dvc_files import PIPELINE, described_stages
from transfer.runtime.errors import PipelineError
from transfer.sources.reader import how_to_pull
from transfer.storage.object_store import is_url

MAX_BYTES_IN_GIT = 1_000_000


def as_source(text: str) -> str:
    """A path as params.yaml has it: relative inside the project, else absolute; URLs of buckets as
    they are.

    Raises:
        PipelineError: it does not exist, is no name that DVC can write, holds the project, or is
            what the pipeline writes.
    """
    if re.match(r"https?://", text):
        raise PipelineError(
            f"{text!r}: download it first; a folder, an archive or a bucket is read"
        )
    if is_url(text):
        return text
    project = Path.cwd()
    path = Path(text)
    if text.startswith("~") and not os.path.lexists(path):
        path = path.expanduser()
    path = Path(os.path.normpath(project / path))
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        raise PipelineError(
            f"{text!r}: the name is not UTF-8, and DVC cannot write it; rename it"
        ) from None
    if path.suffix == ".dvc" and path.is_file():
        raise PipelineError(
            f"{text!r} is DVC's note of what it tracks; name that instead: {text[:-4]!r}"
        )
    if not path.exists():
        if path.is_symlink():
            target = str(path.readlink())
            raise PipelineError(
                f"{text!r} is a link to {target!r}, which is not there: mount what it leads to, or "
                "correct the link"
            )
        remedy = how_to_pull(path) or _of_another_system(text) or _alike(path)
        raise PipelineError(f"{text!r}: no such file or folder{remedy}")
    if project == path or project.is_relative_to(path):
        raise PipelineError(
            f"{text!r} holds the project itself; name the folder that has the images alone"
        )
    for output in _stage_outputs():
        place = project / output
        if path.is_relative_to(place) or place.is_relative_to(path):
            raise PipelineError(
                f"{text!r} is or holds {output}, which the pipeline itself writes; put your images "
                "into a folder of their own"
            )
    return (path.relative_to(project) if path.is_relative_to(project) else path).as_posix()


def _stage_outputs() -> Iterator[str]:
    """The paths that the stages of dvc.yaml write, as far as they are the same for all items."""
    stages = described_stages().values() if PIPELINE.exists() else []
    for stage in stages:
        for output in stage.get("outs", []):
            path = output if isinstance(output, str) else next(iter(output))
            if "$" not in path:
                yield path


def _of_another_system(text: str) -> str:
    """What to do about a path of Windows or a pattern of the shell, in words; empty for others."""
    if text.startswith(("\\\\", "//")):
        return "; it is a share of the network: mount it, and name the folder where it is mounted"
    if drive := re.match(r"([A-Za-z]):[\\/](.*)", text):
        inside = drive[2].replace("\\", "/")
        return (
            "; it is a path of Windows: in WSL it is "
            f"{f'/mnt/{drive[1].lower()}/{inside}'!r}, in a container the folder that was mounted"
        )
    if re.search(r"[*?]", text):
        return "; patterns of names are not read: name the folder"
    return ""


def _alike(path: Path) -> str:
    """Names beside a path that is missing that look like it, in words."""
    parent = path.parent
    if not parent.is_dir():
        return f"; there is no folder {str(parent)!r} either"
    try:
        names = [child.name for child in parent.iterdir()]
    except OSError:
        return ""
    close = difflib.get_close_matches(path.name, names, n=3)
    return f"; there is {' and '.join(repr(name) for name in close)}" if close else ""


def untracked(source: str) -> str | None:
    """What to do about a source inside the project that temporary experiments would not have; None
    where nothing is."""
    if is_url(source) or Path(source).is_absolute():
        return None
    try:
        listed = subprocess.run(  # noqa: S603
            ["git", "ls-files", "--", f":(literal){source}"],  # noqa: S607
            capture_output=True,
            check=True,
        ).stdout
    except (OSError, subprocess.CalledProcessError):  # no git, and so no experiments
        return None
    places = [Path(source), *Path(source).parents]
    if listed or any(Path(f"{place}.dvc").is_file() for place in places if place != Path()):
        return None
    return (
        f"{source} is in neither git nor DVC: `dvc repro` reads it, but `dvc exp run --temp` and "
        f"`--queue` run in a copy without it. For those, add it first: {_to_add(source)}"
    )


def _is_ignored(source: str) -> bool:
    """Whether git ignores the file."""
    words = ["git", "check-ignore", "--quiet", "--", source]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0  # noqa: S603


def _to_add(source: str) -> str:
    """The commands that add a small file or a link to git, and all else to DVC."""
    path = Path(source)
    if path.is_symlink() or (path.is_file() and path.stat().st_size < MAX_BYTES_IN_GIT):
        force = "--force " if _is_ignored(source) else ""
        return f"git add {force}{shlex.quote(source)}"
    return f"dvc add {shlex.quote(source)} && git add {shlex.quote(source + '.dvc')}"
