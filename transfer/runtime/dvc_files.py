"""dvc.yaml and dvc.lock as a stage sees them: verification and fingerprint of its inputs.

DVC trusts a file whose time and size are as it left them, so a bit that flipped on the disk, in the
cache or in a remote goes unnoticed. A stage reads its inputs anyway; it hashes them first.
"""

import hashlib
import itertools
import json
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from transfer.runtime.checksums import file_checksum
from transfer.runtime.errors import PipelineError
from transfer.runtime.instructions import VARIABLES
from transfer.runtime.params import read_params
from transfer.runtime.pins import PINS, in_use, installed, unlike_pins
from transfer.runtime.yaml_text import parse_lock, parse_yaml

PIPELINE = Path("dvc.yaml")
# The second one releases a model and runs only if it is named. Its paths too are relative to the
# project's root (wdir).
PIPELINES = (PIPELINE, Path("deploy/dvc.yaml"))
LOCK = Path("dvc.lock")
LOCKS = (LOCK, Path("deploy/dvc.lock"))
IGNORED = Path(".dvcignore")


def verify_inputs(stage: str) -> None:
    """Compare the files that a stage reads with what dvc.lock says the stages before it wrote.

    It does so only if DVC runs the stage: by hand, stages may be run in any state.

    Raises:
        PipelineError: a file is damaged, or was changed by hand without `dvc commit`.
    """
    if "DVC_STAGE" not in os.environ or not LOCK.exists():
        return
    written = {Path(path): md5 for path, md5 in _outputs_in_lock()}
    for dependency in map(Path, read_stage(stage).get("deps", [])):
        # a stage may read the folder above several stages' outputs
        for path in [path for path in written if path.is_relative_to(dependency)]:
            if path.exists() and (found := output_checksum(path)) != written[path]:
                raise PipelineError(
                    f"{path} is not what dvc.lock says (md5 {found} instead of {written[path]}): "
                    "it was damaged, or changed by hand. `make verify` says how to get it back; "
                    f"`dvc commit {path}` keeps it if you meant the change"
                )


def input_fingerprint(stage: str, leave_out: Collection[str] = ()) -> str:
    """A fingerprint of everything that determines the stage's output bytes: its files, parameters,
    backend, libraries and their kernels.

    Args:
        leave_out: dependencies whose content is not looked at.
    """
    description = read_stage(stage)
    params = read_params()
    content = {
        "files": {
            name: None if name in leave_out else _contents(Path(name))
            for name in description.get("deps", [])
        },
        "params": {name: _value(params, name) for name in params_of(description)},
        "variables": {name: os.environ.get(name) for name in ("KERAS_BACKEND", *VARIABLES)},
        "versions": installed(packages_of(description)),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]


@cache
def checksum(path: Path) -> str:
    """MD5 of a file as in dvc.lock; computed once per process, because a stage's inputs do not
    change while it runs."""
    return file_checksum(path, "md5")


def output_checksum(path: Path) -> str:
    """The MD5 of an output as in dvc.lock: of a file, or, with `.dir` at its end, of a folder's
    listing."""
    files = _contents(path)
    if isinstance(files, str):
        return files
    return f"{hashlib.md5(folder_listing(files), usedforsecurity=False).hexdigest()}.dir"


def folder_listing(files: Mapping[str, str]) -> bytes:
    """The bytes that DVC hashes for a folder: MD5 by the files' paths in it."""
    return json.dumps(
        [{"md5": md5, "relpath": name} for name, md5 in sorted(files.items())]
    ).encode()


def _contents(path: Path) -> str | dict[str, str]:
    """The checksum of a file, or those of all files in a folder that DVC does not ignore, by their
    paths in it."""
    if not path.is_dir():
        return checksum(path)
    is_ignored = _ignored_by_dvc()
    return {
        file.relative_to(path).as_posix(): checksum(file)
        for file in sorted(path.rglob("*"))
        if file.is_file() and not is_ignored(file)
    }


def _ignored_by_dvc() -> Callable[[Path], bool]:
    """Tells of a path whether .dvcignore names it: what Python, editors and desktops leave behind,
    and what the user has added."""
    if not IGNORED.exists():
        return lambda path: False
    from pathspec import GitIgnoreSpec  # DVC's own; a hundredth of a second

    lines = IGNORED.read_text(encoding="utf-8").splitlines()
    return GitIgnoreSpec.from_lines(lines).match_file


def read_stage(stage: str) -> dict:
    """The entry of a stage in dvc.yaml (or deploy/dvc.yaml), with the values of params.yaml for
    `${section.name}`, and those of the matrix for a stage `NAME@ITEM`.

    Names that params.yaml lacks are not replaced, because the stage has the better error message.
    Neither is `${item.key}` if the stage is named without its item.

    Raises:
        PipelineError: there is no such stage, or as `described_stages`.
    """
    name, _, item = stage.partition("@")
    stages = described_stages()
    if name not in stages:
        raise PipelineError(f"{PIPELINE} has no stage {name!r}; add it, or restore it from git")
    described = stages[name]
    try:
        params = read_params()
    except PipelineError:
        params = {}
    if item:
        params = {**params, "item": matrix_items(described)[item]}
    return _filled_in(described, params)


def described_stages() -> dict[str, dict]:
    """All stages of dvc.yaml and deploy/dvc.yaml by name, as they are written there; one with a
    matrix is there once.

    Raises:
        PipelineError: a file cannot be read, or it lists no stages.
    """
    return _stages_in(PIPELINES, parse_yaml, "correct it, or restore it from git")


def stage_names(described: Mapping[str, dict]) -> list[str]:
    """The names that DVC gives to stages: `NAME`, or `NAME@ITEM` for each item of a matrix."""
    return [
        f"{name}@{item}" if item else name
        for name, stage in described.items()
        for item in matrix_items(stage)
    ]


def matrix_items(stage: Mapping) -> dict[str, dict]:
    """The items of a stage's matrix by the names that DVC gives them; a stage without one has a
    single item without a name."""
    matrix = stage.get("matrix", {})
    combinations = itertools.product(*matrix.values())
    return {
        "-".join(map(str, values)): dict(zip(matrix, values, strict=True))
        for values in combinations
    }


def params_of(description: dict) -> list[str]:
    """The sections and keys of params.yaml that a stage has as parameters in dvc.yaml."""
    return [item for item in description.get("params", []) if isinstance(item, str)]


def packages_of(description: dict) -> list[str]:
    """The packages that decide a stage's bytes, as dvc.yaml has them, with those of the backend
    that is used."""
    files = [item for item in description.get("params", []) if isinstance(item, dict)]
    return in_use(name for item in files for name in item.get(PINS.name, []))


def other_versions(stage: str) -> list[str]:
    """A phrase for each package that decides the stage's bytes and is installed in another version
    than pins.yaml has.

    Empty if there is no dvc.yaml or no pins.yaml, because a stage that is run by hand may lack
    them.

    Raises:
        PipelineError: pins.yaml is not a list of versions.
    """
    if not PIPELINE.exists() or not PINS.exists():
        return []
    return unlike_pins(packages_of(read_stage(stage)), read_pins())


def read_pins(path: Path = PINS) -> dict[str, str]:
    """The pinned version by package.

    Raises:
        PipelineError: the file cannot be read, or it is not a list of versions.
    """
    pins = _read_yaml(path, parse_yaml, "restore it from git, or make it again with `make lock`")
    if not isinstance(pins, dict) or not all(isinstance(pinned, str) for pinned in pins.values()):
        raise PipelineError(
            f"{path}: a version in quotes was expected for each package; restore it from git"
        )
    return pins


def _filled_in(value: Any, params: Any) -> Any:
    if isinstance(value, dict):
        return {_filled_in(key, params): _filled_in(each, params) for key, each in value.items()}
    if isinstance(value, list):
        return [_filled_in(each, params) for each in value]
    return (
        re.sub(r"\$\{([\w.]+)\}", lambda found: _shown(params, found), value)
        if isinstance(value, str)
        else value
    )


def _shown(params: Any, found: re.Match) -> str:
    try:
        return str(_value(params, found[1]))
    except (KeyError, TypeError):
        return found[0]


def locked_stages() -> dict[str, dict]:
    """The stages of dvc.lock and deploy/dvc.lock by name, as DVC last wrote them.

    Raises:
        PipelineError: a file cannot be read, or it lists no stages.
    """
    return _stages_in(LOCKS, parse_lock, "`python -m transfer repair` repairs it")


def _stages_in(files: Iterable[Path], parse: Callable[[str], Any], advice: str) -> dict[str, dict]:
    found = {}
    for file in files:
        if not file.exists():
            continue
        content = _read_yaml(file, parse, advice)
        if not isinstance(content, dict) or not isinstance(content.get("stages"), dict):
            raise PipelineError(f"{file} cannot be read: it lists no stages; {advice}")
        found |= content["stages"]
    return found


def _read_yaml(file: Path, parse: Callable[[str], Any], advice: str) -> Any:
    try:
        return parse(file.read_text(encoding="utf-8"))
    # besides its own errors, PyYAML lets through what a value such as 2020-99-99 makes Python raise
    except Exception as error:
        raise PipelineError(f"{file} cannot be read: {error}; {advice}") from None


def _outputs_in_lock() -> Iterator[tuple[str, str]]:
    """Path and MD5 of each file or folder that a lock lists as an output."""
    for stage in locked_stages().values():
        for output in stage.get("outs", []):
            yield output["path"], output["md5"]


def _value(params: dict, name: str) -> object:
    """A section, or `section.key`."""
    for part in name.split("."):
        params = params[part]
    return params
