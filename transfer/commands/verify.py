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
from collections.abc import Callable, Collection, Iterable
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
    try:
        with Repo() as repo:
            reader = Reader(Path(os.path.relpath(repo.cache.local.path)))
            has_remote = bool(repo.config["core"].get("remote"))
            files_below = partial(repo.dvcignore.find, repo.fs)
            findings = [
                finding
                for named in read_lock(repo)
                for finding in check_output(named, reader, files_below)
            ]
            problems = [
                finding
                for finding in findings
                if (finding.workspace, finding.cache) != ("right", "right")
            ]
            outdated = outdated_stages(repo) if problems else set()
    except (PipelineError, DvcException) as error:
        remedy = "; repair it: python -m transfer repair" if "dvc.lock'" in str(error) else ""
        raise PipelineError(f"{error}{remedy}") from None
    bad_shards = []
    if indexes := right_indexes(findings):
        url = load_params(ResourceParams, "resources").shards_url
        bad_shards = check_shards(indexes, Shards(url).store, reader)
    described = [describe(finding) for finding in problems] + [
        describe_shard(bad) for bad in bad_shards
    ]
    for line in described + advise_shards(bad_shards) + advise(problems, has_remote, outdated):
        print(line)
    count = len(described)
    print(
        f"verify: {reader.files} files, {reader.size / 1e6:.1f} MB read; {count or 'no'} "
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
    """Hashes files and counts what it has read. objects: the folder of DVC's cache objects."""

    def __init__(self, objects: Path) -> None:
        self.objects, self.files, self.size = objects, 0, 0

    def object(self, md5: str) -> Path:
        """The cache object of that MD5."""
        return self.objects / md5[:2] / md5[2:]

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


def check_output(named: Named, reader: Reader, files_below: Callable) -> list[Finding]:
    """How the copies of an output or input are: one finding, or several of a folder.

    Args:
        files_below: the files in a folder that DVC does not ignore.
    """
    if named.md5.endswith(".dir"):
        return check_folder(named, reader, files_below)
    state = state_of(reader.md5(named.path), named.md5)
    return [finding_of(named, named.path, state, named.md5, reader)]


def check_folder(named: Named, reader: Reader, files_below: Callable) -> list[Finding]:
    """One finding for the listing and one for each file; if both listings are wrong, no file can be
    named."""
    here = {
        Path(file).relative_to(named.path).as_posix(): reader.md5(Path(file))
        for file in files_below(str(named.path))
    }
    listing, md5 = reader.object(named.md5), named.md5.removesuffix(".dir")
    state = "right"
    if hashlib.md5(folder_listing(here), usedforsecurity=False).hexdigest() == md5:
        expected = here
    elif reader.md5(listing) == md5:
        expected = {entry["relpath"]: entry["md5"] for entry in json.loads(listing.read_bytes())}
    else:
        expected, here, state = {}, {}, "damaged" if here else "missing"
    findings = [finding_of(named, named.path, state, named.md5, reader)]
    for name, digest in expected.items():
        state = state_of(here.get(name, "missing"), digest)
        findings.append(finding_of(named, named.path / name, state, digest, reader))
    return findings + [
        Finding(named, named.path / name, "not in dvc.lock")
        for name in here.keys() - expected.keys()
    ]


def finding_of(named: Named, path: Path, workspace: str, md5: str, reader: Reader) -> Finding:
    """A file's finding with the state of its cache object. Inputs have none; outputs with `cache:
    false` may have one, which the run-cache restores.

    Args:
        md5: of the file, or of a folder's listing, which ends in .dir.
    """
    copy = reader.object(md5)
    cache = state_of(reader.md5(copy), md5.removesuffix(".dir")) if named.stage else "right"
    if cache == "missing" and not named.cached:
        cache = "right"
    return Finding(named, path, workspace, copy, cache)


def state_of(found: str, expected: str) -> str:
    """The state of a file by its MD5 and what that should be."""
    if found == expected:
        return "right"
    return "missing" if found == "missing" else "damaged"


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


def check_shards(makers: dict[Path, str], store: ObjectStore, reader: Reader) -> list[BadShard]:
    """The shards that are not what their index says.

    Args:
        makers: from `right_indexes`.
    """
    indexes = {path: read_index(path) for path in makers}
    sizes = {shard.name: shard.bytes for index in indexes.values() for shard in index.shards}
    reader.files, reader.size = reader.files + len(sizes), reader.size + sum(sizes.values())
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


def outdated_stages(repo: Repo) -> set[str]:
    """The stages whose inputs or parameters are not those of dvc.lock."""
    return {
        stage.addressing
        for stage in repo.index.stages
        if any(dependency.status() for dependency in stage.deps)
    }


def advise(problems: list[Finding], has_remote: bool, outdated: Collection[str]) -> list[str]:
    """What to do about the problems, as lines to print.

    Args:
        outdated: from `outdated_stages`.
    """
    lines = []
    inputs = [str(finding.path) for finding in problems if not finding.named.stage]
    if inputs:
        lines += [
            "",
            "Inputs changed. If that is meant: dvc repro. If not, get them back: git checkout -- "
            f"{shlex.join(inputs)}",
        ]
    outputs = [finding for finding in problems if finding.named.stage]
    commands = repair_commands(outputs, has_remote, outdated)
    if commands:
        lines += [
            "",
            "To repair the outputs, in this order:",
            *(f"    {command}" for command in commands),
        ]
    return [*lines, ""] if lines else []


def repair_commands(
    problems: list[Finding], has_remote: bool, outdated: Collection[str]
) -> list[str]:
    """The cheapest commands that restore the outputs: from the cache, the remote, the workspace, or
    by running the stage.

    Of an outdated stage `dvc commit` would record the new inputs and parameters with the old
    outputs.
    """
    bad = ("damaged", "not in dvc.lock")
    delete = [finding.path for finding in problems if finding.workspace in bad]
    delete += [finding.object for finding in problems if finding.cache in bad]
    checkout, pull, commit, repro = set(), set(), set(), set()
    for finding in problems:
        out, stage = str(finding.named.path), finding.named.stage
        if finding.workspace == "right" and stage not in outdated:
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
