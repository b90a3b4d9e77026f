"""Repair the files that a killed DVC left half-written, and configure DVC for work with or without
a git repository.

    python -m transfer repair

DVC writes `dvc.lock`, `deploy/dvc.lock` and `.dvc/tmp/rwlock` in place. If it is killed in that
moment, only the first part of the file is left. From a damaged lock the complete entries of stages
are kept, and the others are taken from the last commit. DVC compares each entry with the hashes of
the files, so an old entry only costs a lookup in DVC's run-cache, or a run. `rwlock` only says
which DVC runs now.
"""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import yaml

from transfer.commands.committed import NoCommitError, at_head
from transfer.runtime.dvc_files import LOCKS
from transfer.runtime.errors import PipelineError
from transfer.runtime.files import atomic_write
from transfer.runtime.program import command_parser

BUSY = Path(".dvc/tmp/rwlock")
DAMAGED = Path(".dvc/tmp")  # keeps a copy of a damaged lock
SETTINGS = Path(".dvc/config.local")
WITHOUT_GIT = Path(".dvc/tmp/without-git")  # core.no_scm was set by this module, not by a person
HEADER = "schema: '2.0'\nstages:\n"
SETTLE_SECONDS = 1.0  # seconds: another DVC may be writing the file at this moment


def main(argv: list[str]) -> None:
    """Repair the project in the working directory and print what was done."""
    command_parser("repair", __doc__).parse_args(argv)
    if not print_repairs("repair"):
        print("repair: nothing was damaged")


def print_repairs(program: str) -> int:
    """Repair, and print each line after the program's name; how many lines there are.

    Raises:
        PipelineError: as `repair`.
    """
    lines = repair()
    for line in lines:
        print(f"{program}: {line}", flush=True)
    return len(lines)


def repair() -> list[str]:
    """Repair the project in the working directory; returns one line for each thing that was done.

    Raises:
        PipelineError: a lock has the marks of an unfinished merge, which only a person can
            resolve; or as `settle_git`.
    """
    return [line for line in (*map(repair_lock, LOCKS), repair_busy(), settle_git()) if line]


def repair_lock(lock: Path) -> str | None:
    """Repair a lock if it is damaged; a copy of the damaged one is kept."""
    if not lock.exists() or is_whole(lock.read_bytes()):
        return None
    if re.search(rb"^<<<<<<< ", lock.read_bytes(), flags=re.MULTILINE):
        raise PipelineError(
            f"{lock}: a merge left its marks (<<<<<<<); resolve it (for example git checkout "
            f"--theirs {lock}) and run this again"
        )
    time.sleep(SETTLE_SECONDS)
    found = lock.read_bytes()
    if is_whole(found):
        return None
    damaged = DAMAGED / f"{lock.as_posix().replace('/', '-')}.damaged"
    damaged.parent.mkdir(parents=True, exist_ok=True)
    damaged.write_bytes(found)
    kept, committed = whole_entries(found), whole_entries(committed_lock(lock))
    entries = kept | {name: entry for name, entry in committed.items() if name not in kept}
    if entries:
        with atomic_write(lock) as part:
            part.write_text(HEADER + "".join(entries.values()), encoding="utf-8")
    else:
        lock.unlink()
    taken = ", ".join(name for name in entries if name not in kept) or "none"
    return (
        f"{lock} was cut short, as when DVC is killed while it writes it: {len(kept)} of its "
        f"stages are kept; taken from the last commit: {taken}; missing ones come from DVC's "
        f"run-cache or are run again. A copy of the damaged file is {damaged}"
    )


def repair_busy() -> str | None:
    """Remove a damaged .dvc/tmp/rwlock."""
    if not BUSY.exists() or is_json(BUSY.read_bytes()):
        return None
    time.sleep(SETTLE_SECONDS)
    if not BUSY.exists() or is_json(BUSY.read_bytes()):
        return None
    BUSY.unlink()
    return (
        f"{BUSY} was cut short, as when DVC is killed while it writes it: removed, because it says "
        "only which DVC runs at this moment"
    )


def is_json(content: bytes) -> bool:
    """Whether the bytes are a JSON object."""
    try:
        return isinstance(json.loads(content), dict)
    except ValueError:
        return False


def is_whole(content: bytes) -> bool:
    """Whether the bytes look like a dvc.lock that DVC finished writing."""
    try:
        lock = yaml.safe_load(content.decode("utf-8"))
    except (ValueError, yaml.YAMLError):
        return False
    stages = lock.get("stages") if isinstance(lock, dict) and "schema" in lock else None
    return (
        content.endswith(b"\n")
        and isinstance(stages, dict)
        and all(map(is_complete, stages.values()))
    )


def whole_entries(content: bytes) -> dict[str, str]:
    """The lines of each stage with a complete entry, by its name, in the order of the file."""
    text = content.decode("utf-8", errors="replace")
    entries = {}
    for part in re.split(r"^(?=  \S)", text, flags=re.MULTILINE)[1:]:
        try:
            parsed = yaml.safe_load(part)
        except (ValueError, yaml.YAMLError):
            continue
        if part.endswith("\n") and isinstance(parsed, dict) and len(parsed) == 1:
            [(name, entry)] = parsed.items()
            if isinstance(name, str) and is_complete(entry):
                entries[name] = part
    return entries


def is_complete(entry: object) -> bool:
    """Whether a stage's entry has what DVC always writes, so that it does not end in the middle of
    a file's or a parameter's lines."""
    if not isinstance(entry, dict) or not isinstance(entry.get("cmd"), (str, list)):
        return False
    params = entry.get("params", {})
    if not isinstance(params, dict) or not all(
        isinstance(values, dict) for values in params.values()
    ):
        return False
    files = [entry.get(key, []) for key in ("deps", "outs")]
    return all(isinstance(items, list) and all(map(is_complete_file, items)) for items in files)


def is_complete_file(item: object) -> bool:
    """Whether a file's lines name its path and hash, with an MD5 its size too, and for a folder the
    number of its files."""
    if not isinstance(item, dict) or "path" not in item or None in item.values():
        return False
    if "md5" in item:
        return "size" in item and ("nfiles" in item or not str(item["md5"]).endswith(".dir"))
    # such keys belong to an address in a bucket or on a server
    return "hash" not in item and bool({"etag", "checksum"} & item.keys())


def committed_lock(lock: Path) -> bytes:
    """The lock of the last commit; empty if there is none."""
    try:
        return at_head(lock)
    except NoCommitError:
        return b""


def settle_git() -> str | None:
    """Let DVC work without git if the folder is in no git repository, and with git again once it is
    in one.

    Raises:
        PipelineError: the folder has lost DVC's settings together with git's.
    """
    here = Path.cwd()
    in_git = any((folder / ".git").exists() for folder in (here, *here.parents))
    if in_git and WITHOUT_GIT.exists():  # a person's own setting is not changed
        configure("--unset", "core.no_scm")
        WITHOUT_GIT.unlink()
        return "there is a git repository now, so DVC uses it again"
    if in_git or (SETTINGS.exists() and "no_scm" in SETTINGS.read_text(encoding="utf-8")):
        return None
    if not SETTINGS.parent.is_dir():
        raise PipelineError(
            f"{here} has no folder {SETTINGS.parent}, as a copy without hidden files; copy the "
            "whole project (cp -r PROJECT/. COPY), or clone it"
        )
    configure("core.no_scm", "true")
    WITHOUT_GIT.parent.mkdir(parents=True, exist_ok=True)
    WITHOUT_GIT.touch()
    return (
        f"{here} is in no git repository, so DVC works without one (core.no_scm in {SETTINGS}); "
        "to compare and keep experiments, make it one: git init && git add --all && git commit -m "
        "start"
    )


def configure(*words: str) -> None:
    """Change DVC's settings of this folder; raises PipelineError if DVC cannot."""
    command = [sys.executable, "-m", "dvc", "config", "--local", *words]
    if subprocess.run(command, check=False).returncode:  # noqa: S603, no shell
        raise PipelineError(f"`dvc config` cannot change {SETTINGS}; it says why above")
