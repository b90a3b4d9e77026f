"""`make verify`: re-hash everything that dvc.lock and deploy/dvc.lock name, in the workspace and in
DVC's cache, and print the commands that repair what is wrong.

DVC trusts a file whose time, size and inode it knows, and a cache object because of its name; this
command reads every byte. The run-cache (.dvc/cache/runs) is left out: it holds only names of
objects, and a wrong name makes its stage run again. For arrays in shards, of which DVC tracks the
indexes, every shard is read at its URL.
"""

import hashlib
import json
import os
import shlex
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from dvc.exceptions import DvcException
from dvc.repo import Repo

from transfer.runtime.checksums import file_checksum
from transfer.runtime.dvc_files import PIPELINE, folder_listing
from transfer.runtime.errors import PipelineError
from transfer.runtime.params import load_params
from transfer.runtime.program import FAILED, command_parser
from transfer.runtime.resource_params import ResourceParams
from transfer.storage.object_store import ObjectStore
from transfer.storage.params import Shards
from transfer.storage.shard_check import check
from transfer.storage.sharded_array import SUFFIX, Shard, read_index


class Named(NamedTuple):
    """What dvc.lock names: an output of a stage, or an input, which no stage makes."""

    path: Path
    md5: str  # ends in .dir for a folder: the MD5 of its listing
    stage: str = ""  # of an output
    cached: bool = False


class Finding(NamedTuple):
    """A file and how its copies are: "right", "missing", "damaged" or, in the workspace,
    "not in dvc.lock"."""

    named: Named
    path: Path
    workspace: str
    object: Path | None = None
    cache: str = "right"


def main(argv: list[str]) -> int:
    """Print what is wrong and what repairs it; the exit code is 1 if anything is wrong."""
    parser = command_parser("verify", __doc__)
    parser.parse_args(argv)
    read = Reader()
    try:
        with Repo() as repo:
            objects, has_remote = (
                Path(os.path.relpath(repo.cache.local.path)),
                bool(repo.config["core"].get("remote")),
            )
            files_below = partial(repo.dvcignore.find, repo.fs)
            findings = [
                finding
                for named in read_lock(repo)
                for finding in check_output(named, objects, read, files_below)
            ]
    except (PipelineError, DvcException) as error:
        remedy = "; repair it: python -m transfer repair" if "dvc.lock'" in str(error) else ""
        raise PipelineError(f"{error}{remedy}") from None
    problems = [
        finding for finding in findings if (finding.workspace, finding.cache) != ("right", "right")
    ]
    bad_shards = []
    if indexes := right_indexes(findings):
        url = load_params(ResourceParams, "resources").shards_url
        bad_shards = check_shards(indexes, Shards(url).store, read)
    described = [describe(finding) for finding in problems] + [
        describe_shard(bad) for bad in bad_shards
    ]
    for line in described + advise_shards(bad_shards) + advise(problems, has_remote):
        print(line)
    count = len(described)
    print(
        f"verify: {read.files} files, {read.size / 1e6:.1f} MB read; {count or 'no'} "
        f"problem{'s' * (count != 1)}"
    )
    return FAILED if described else 0


def read_lock(repo: Repo) -> list[Named]:
    """The outputs and inputs of all stages in dvc.lock."""
    outputs = {}
    for out in repo.index.outs:
        if _is_not_used(out.stage):
            continue
        if not out.hash_info:
            stage = out.stage.addressing
            raise PipelineError(
                f"dvc.lock: nothing about {out.def_path}, which stage {stage} makes; run it with: "
                f"dvc repro {stage}"
            )
        path = in_project(out)
        outputs[path] = Named(Path(path), out.hash_info.value, out.stage.addressing, out.use_cache)
    here = (
        dep
        for dep in repo.index.deps
        if dep.hash_info and dep.hash_info.name == "md5" and dep.fs.protocol == "local"
        if not _is_not_used(dep.stage)
    )  # and not a bucket of images
    inputs = {in_project(dep): dep.hash_info.value for dep in here}
    return [
        *outputs.values(),
        *(Named(Path(path), md5) for path, md5 in inputs.items() if not made(path, outputs)),
    ]


def in_project(item) -> str:
    """The path of an output or dependency from the project's root; DVC has that from the folder of
    its stage's file. One outside the project stays as it is."""
    path, here = Path(item.fs_path), Path.cwd()
    return path.relative_to(here).as_posix() if path.is_relative_to(here) else item.def_path


def _is_not_used(stage) -> bool:
    """Whether the stage is of another pipeline than dvc.yaml, which most clones never run, and
    nothing of it is here."""
    on_request = Path(stage.path_in_repo) != PIPELINE
    return on_request and not any(Path(out.fs_path).exists() for out in stage.outs)


def made(path: str, outputs: Iterable[str]) -> bool:
    """Whether a dependency is an output, or the folder above some."""
    return any(Path(output).is_relative_to(path) for output in outputs)


class Reader:
    """Hashes files and counts what it has read."""

    def __init__(self) -> None:
        self.files, self.size = 0, 0

    def md5(self, path: Path) -> str:
        """The MD5 of a file's bytes, or "missing", or "unreadable" if the disk cannot read it."""
        try:
            digest = file_checksum(path, "md5")
            self.size += path.stat().st_size
        except FileNotFoundError:
            return "missing"
        except OSError:
            return "unreadable"
        self.files += 1
        return digest


def check_output(named: Named, objects: Path, read: Reader, files_below: Callable) -> list[Finding]:
    if named.md5.endswith(".dir"):
        return check_folder(named, objects, read, files_below)
    where = object_path(objects, named.md5)
    return [
        Finding(
            named,
            named.path,
            compare(read.md5(named.path), named.md5),
            where,
            look(named, where, named.md5, read),
        )
    ]


def check_folder(named: Named, objects: Path, read: Reader, files_below: Callable) -> list[Finding]:
    """One finding for the listing and one for each file; if both listings are wrong, no file can be
    named."""
    here = {
        Path(file).relative_to(named.path).as_posix(): read.md5(Path(file))
        for file in files_below(str(named.path))
    }
    where, md5 = object_path(objects, named.md5), named.md5.removesuffix(".dir")
    listing = look(named, where, md5, read)
    unchanged = hashlib.md5(folder_listing(here), usedforsecurity=False).hexdigest() == md5
    if unchanged:
        expected = here
    elif compare(read.md5(where), md5) == "right":
        expected = {entry["relpath"]: entry["md5"] for entry in json.loads(where.read_bytes())}
    else:
        return [Finding(named, named.path, "damaged" if here else "missing", where, listing)]
    findings = [Finding(named, named.path, "right", where, listing)]
    for name, digest in expected.items():
        of_file = object_path(objects, digest)
        state = compare(here.get(name, "missing"), digest)
        findings.append(
            Finding(named, named.path / name, state, of_file, look(named, of_file, digest, read))
        )
    return findings + [
        Finding(named, named.path / name, "not in dvc.lock")
        for name in here.keys() - expected.keys()
    ]


def object_path(objects: Path, md5: str) -> Path:
    return objects / md5[:2] / md5[2:]


class BadShard(NamedTuple):
    """index: the file that names the shard. state: "missing" or "damaged"."""

    index: Path
    stage: str
    shard: Shard
    state: str


def right_indexes(findings: list[Finding]) -> dict[Path, str]:
    """The undamaged indexes of arrays in shards, with the stages that make them."""
    return {
        finding.path: finding.named.stage
        for finding in findings
        if finding.path.suffix == SUFFIX and finding.workspace == "right"
    }


def check_shards(makers: dict[Path, str], store: ObjectStore, read: Reader) -> list[BadShard]:
    """The shards that are not what their index says.

    Args:
        makers: from `right_indexes`.
    """
    indexes = {path: read_index(path) for path in makers}
    sizes = {shard.name: shard.bytes for index in indexes.values() for shard in index.shards}
    read.files, read.size = read.files + len(sizes), read.size + sum(sizes.values())
    return [
        BadShard(path, makers[path], shard, state) for path, shard, state in check(indexes, store)
    ]


def describe_shard(bad: BadShard) -> str:
    return f"{bad.index}: shard {bad.shard.name} {bad.state} at resources.shards_url"


def advise_shards(bad: list[BadShard]) -> list[str]:
    """A damaged shard must be deleted first: a shard that exists by name and size is not stored
    again."""
    if not bad:
        return []
    damaged = sorted({each.shard.name for each in bad if each.state == "damaged"})
    commands = [f"python -m transfer shards delete {' '.join(damaged)}"] if damaged else []
    commands += [
        f"dvc repro --force --single-item {stage}"
        for stage in dict.fromkeys(each.stage for each in bad)
    ]
    return [
        "",
        "To store the shards again, which gives the same indexes:",
        *(f"    {command}" for command in commands),
        "",
    ]


def compare(found: str, expected: str) -> str:
    return "right" if found == expected else "missing" if found == "missing" else "damaged"


def look(named: Named, where: Path, md5: str, read: Reader) -> str:
    """The state of a cache object. Inputs have none; outputs with `cache: false` may have one,
    which the run-cache restores."""
    state = compare(read.md5(where), md5) if named.stage else "right"
    return "right" if state == "missing" and not named.cached else state


def describe(finding: Finding) -> str:
    workspace = (
        finding.workspace
        if finding.named.stage
        else finding.workspace.replace("damaged", "changed")
    )
    places = {"in the workspace": workspace, f"in the cache ({finding.object})": finding.cache}
    return f"{finding.path}: " + ", ".join(
        f"{state} {place}" for place, state in places.items() if state != "right"
    )


def advise(problems: list[Finding], has_remote: bool) -> list[str]:
    """What to do about the problems, as lines to print."""
    lines = []
    inputs = [str(finding.path) for finding in problems if not finding.named.stage]
    if inputs:
        lines += [
            "",
            "Inputs changed. If that is meant: dvc repro. If not, get them back: git checkout -- "
            f"{shlex.join(inputs)}",
        ]
    commands = repair([finding for finding in problems if finding.named.stage], has_remote)
    if commands:
        lines += [
            "",
            "To repair the outputs, in this order:",
            *(f"    {command}" for command in commands),
        ]
    return [*lines, ""] if lines else []


def repair(problems: list[Finding], has_remote: bool) -> list[str]:
    """The cheapest commands that restore the outputs: from the cache, the remote, the workspace, or
    by running the stage."""
    bad = ("damaged", "not in dvc.lock")
    delete = [finding.path for finding in problems if finding.workspace in bad]
    delete += [finding.object for finding in problems if finding.cache in bad]
    checkout, pull, commit, repro = set(), set(), set(), set()
    for finding in problems:
        out, stage = str(finding.named.path), finding.named.stage
        if finding.workspace == "right":
            commit.add(stage)
        elif not finding.named.cached:
            repro.add(stage)
        elif finding.cache == "right":
            checkout.add(out)
        elif has_remote:
            pull.add(out)
        else:
            repro.add(stage)
    remade = {str(finding.named.path) for finding in problems if finding.named.stage in repro}
    steps = {
        "rm -rf": {str(path) for path in delete},
        "dvc checkout": checkout - pull - remade,
        "dvc pull": pull - remade,
        "dvc commit": commit - repro,
        "dvc repro": repro,
    }
    commands = [
        f"{command} {shlex.join(sorted(words))}" for command, words in steps.items() if words
    ]
    makers = {
        finding.named.stage for finding in problems if str(finding.named.path) in steps["dvc pull"]
    }
    return commands + (
        [f"# this computes again what the remote lacks: dvc repro {shlex.join(sorted(makers))}"]
        if makers
        else []
    )
