"""Compares the workspace's dvc.lock with that of HEAD: which outputs equal the commit's bytes, and
why the others do not."""

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import yaml

from transfer.runtime.dvc_files import LOCK, LOCKS
from transfer.runtime.params import flattened
from transfer.runtime.yaml_text import parse_lock

_NAMED = 3  # outputs or causes before "and so many more"


class NoCommitError(Exception):
    """There is no committed dvc.lock to compare with; the message says why."""


class _Output(NamedTuple):
    """The stage that makes it, and its hash and size in dvc.lock."""

    stage: str
    content: dict


def read_committed() -> dict[str, dict]:
    """The stages of dvc.lock in HEAD, by name, and those of deploy/dvc.lock if HEAD has one.

    Raises:
        NoCommitError: as `at_head`, or the lock there cannot be read.
    """
    stages = _stages_at_head(LOCK)
    for lock in LOCKS[1:]:
        with suppress(NoCommitError):  # a project that exports nothing has none
            stages = stages | _stages_at_head(lock)
    return stages


def at_head(file: Path) -> bytes:
    """The content of a file of the project in HEAD.

    Raises:
        NoCommitError: no git, no repository, no commit, or no such file in it.
    """
    command = ["git", "show", f"HEAD:./{file.as_posix()}"]
    try:
        return subprocess.run(  # noqa: S603, fixed
            command, capture_output=True, check=True, env=os.environ | {"LC_ALL": "C"}
        ).stdout
    except FileNotFoundError:
        raise NoCommitError("git is not installed") from None
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip().splitlines()
        first = said[0].removeprefix("fatal: ") if said else f"it exited with {error.returncode}"
        raise NoCommitError(f"git says: {first}") from None


def _stages_at_head(lock: Path) -> dict[str, dict]:
    try:
        return parse_lock(at_head(lock).decode())["stages"]
    except (yaml.YAMLError, ValueError, TypeError, KeyError) as error:
        raise NoCommitError(f"{lock} in HEAD cannot be read ({type(error).__name__})") from None


def say(stages: dict[str, dict], committed: dict[str, dict], machine: str) -> str:
    """One line that says how many outputs have the bytes of the commit, and why the others do not.

    Args:
        stages: those of the workspace's dvc.lock, by name.
        committed: those of the commit's.
        machine: what may have changed the last bits of outputs with the same code, data, parameters
            and pins.
    """
    now, then = _outputs(stages), _outputs(committed)
    others = {
        path: made
        for path, made in now.items()
        if path not in then or made.content != then[path].content
    }
    reasons: dict[str, list[str]] = {}
    for path, made in others.items():
        # several stages may have one parameter
        found = list(dict.fromkeys(causes(made.stage, stages, committed)))
        why = (
            _few(found)
            if found
            else "all that they are made from is the commit's, so this machine computes other last "
            f"bits: {machine}"
        )
        reasons.setdefault(why, []).append(path)
    if gone := [path for path in then if path not in now]:
        reasons["no stage makes them any more"] = gone
    if not reasons:
        return f"All {len(now)} outputs are the bytes of the commit (dvc.lock in HEAD)."
    first = (
        f"{len(now) - len(others)} of {len(now)} outputs are the bytes of the commit (dvc.lock in "
        "HEAD)"
    )
    return (
        "; ".join([first, *(f"not {_few(paths)}: {why}" for why, paths in reasons.items())]) + "."
    )


def causes(stage: str, stages: dict[str, dict], committed: dict[str, dict]) -> Iterator[str]:
    """The causes of a stage's difference: its inputs, direct or through other stages' outputs, that
    differ from the commit's. A commit whose lock of deploy/ was not brought up to date has outputs
    of inputs that it does not have; that is a cause too."""
    outputs, before = _outputs(stages), _outputs(committed)
    seen, pending = {stage}, [stage]
    while pending:
        name = pending.pop(0)
        if name not in committed:
            yield f"{name} is not in the commit"
            continue
        now, then = stages[name], committed[name]
        if now.get("cmd") != then.get("cmd"):
            yield f"the command of {name} changed"
        yield from _changed_params(now.get("params", {}), then.get("params", {}))
        for path in _changed(_contents(now, "deps"), _contents(then, "deps")):
            # a stage may read the folder above several stages' outputs
            below = {out: made for out, made in outputs.items() if Path(out).is_relative_to(path)}
            if not below:
                yield f"{path} changed"
            elif all(before.get(out) == made for out, made in below.items()):
                yield f"the commit's {name} was made from another {path} than the commit's own"
            for maker in dict.fromkeys(made.stage for made in below.values()):
                if maker not in seen:
                    seen.add(maker)
                    pending.append(maker)


def _changed_params(now: dict[str, dict], then: dict[str, dict]) -> Iterator[str]:
    for file in dict.fromkeys([*now, *then]):
        values, before = flattened(now.get(file, {})), flattened(then.get(file, {}))
        for key in _changed(values, before):
            here, there = (
                repr(each[key]) if key in each else "absent" for each in (values, before)
            )
            yield f"{key} is {here} in {file}, {there} in the commit"


def _changed(now: dict, then: dict) -> list[str]:
    """Keys of either whose value differs or is missing in the other."""
    return [
        key
        for key in dict.fromkeys([*now, *then])
        if (key in now, now.get(key)) != (key in then, then.get(key))
    ]


def _outputs(stages: dict[str, dict]) -> dict[str, _Output]:
    """By path."""
    return {
        path: _Output(name, content)
        for name, stage in stages.items()
        for path, content in _contents(stage, "outs").items()
    }


def _contents(stage: dict, kind: str) -> dict[str, dict]:
    """Hash and size from dvc.lock, by path of a stage's `deps` or `outs`."""
    return {
        entry["path"]: {key: value for key, value in entry.items() if key != "path"}
        for entry in stage.get(kind, [])
    }


def _few(items: Sequence[str]) -> str:
    shown = (
        [*items] if len(items) <= _NAMED + 1 else [*items[:_NAMED], f"{len(items) - _NAMED} more"]
    )
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else shown[0]
