"""`python -m transfer shards`: check the shards at `resources.shards_url`, find those that no index
names, and delete some.

`check` reads every shard of the workspace's indexes. `unused` lists the shards that no index of the
workspace, of any commit or of any experiment names, and deletes them with `--delete`. Use it only
if no other project has its shards at the same URL; it refuses if one of these indexes is not
available. `delete` deletes shards by name, so that their stage stores them again.
"""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from dvc.dependency import ParamsDependency
from dvc.exceptions import DvcException
from dvc.output import Output
from dvc.repo import Repo

from transfer.commands.verify import Reader
from transfer.runtime.errors import PipelineError
from transfer.runtime.params import load_params
from transfer.runtime.program import command_parser
from transfer.runtime.resource_params import ResourceParams
from transfer.storage.object_store import ObjectStore
from transfer.storage.params import Shards
from transfer.storage.shard_check import check
from transfer.storage.sharded_array import SUFFIX, Index, read_index

# Shards, and halves of them that a killed stage left in a folder (`ObjectStore.put`). Other objects
# there do not belong to this project.
_SHARD = re.compile(r"[0-9a-f]{2}/(\.tmp-[0-9a-f]{16}-)?[0-9a-f]{62}\.npy")


def main(argv: list[str]) -> int:
    """Check, list or delete shards, as the words say; the exit code, 1 if something is wrong."""
    parser = command_parser("shards", __doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("check", help="read every shard of the workspace's indexes")
    unused = commands.add_parser("unused", help="list the shards that no index names")
    unused.add_argument("--delete", action="store_true", help="and delete them")
    commands.add_parser("delete", help="delete shards by name").add_argument("names", nargs="+")
    asked = parser.parse_args(argv)
    store = Shards(load_params(ResourceParams, "resources").shards_url).store
    if asked.command == "check":
        return print_check(sorted(Path("data").rglob(f"*{SUFFIX}")), store)
    if asked.command == "unused":
        print_unused(store, delete=asked.delete)
    else:
        delete(asked.names, store)
    return 0


def delete(names: Sequence[str], store: ObjectStore) -> None:
    """Delete shards.

    Raises:
        PipelineError: there is no shard of that name.
    """
    for name in names:
        try:
            store.delete(name)
        except FileNotFoundError:
            raise PipelineError(f"{name}: no such shard") from None


def print_check(indexes: list[Path], store: ObjectStore) -> bool:
    """Print what is wrong with the shards of some indexes; returns whether anything is."""
    problems = check({path: read_index(path) for path in indexes}, store)
    for path, shard, state in problems:
        print(f"{path}: shard {shard.name} is {state} ({store.url})")
    print(
        f"shards: {len(indexes)} indexes; {len(problems) or 'no'} "
        f"problem{'s' * (len(problems) != 1)}"
    )
    return bool(problems)


def print_unused(store: ObjectStore, *, delete: bool) -> None:
    store.check_exists()
    named = {shard.name for index in all_indexes() for shard in index.shards}
    sizes = {
        name: size for name, size in store.walk() if _SHARD.fullmatch(name) and name not in named
    }
    for name in sizes:
        print(name)
        if delete:
            store.delete(name)
    print(
        f"shards: {len(sizes)} shards that no index names, {sum(sizes.values()) / 1e6:.1f} "
        f"MB{', deleted' if delete and sizes else ''}"
    )


def all_indexes() -> Iterator[Index]:
    """The indexes of the workspace, of all commits and of all experiments.

    Raises:
        PipelineError: one of them is neither in the workspace nor in DVC's cache, or DVC cannot
            read its revision, so its shards are unknown.
    """
    locked: dict[str, str] = {}
    with Repo() as repo:
        cache = Reader(Path(repo.cache.local.path))
        for revision in repo.brancher(all_commits=True, all_experiments=True):
            try:
                outputs = repo.index.outs
            except DvcException as error:
                raise PipelineError(
                    f"revision {revision}: DVC cannot read it ({error}), so its shards are unknown "
                    "and none is called unused. DVC adds .dvc/config.local to that revision's "
                    ".dvc/config; if they do not fit together, move .dvc/config.local away for "
                    "this command"
                ) from None
            locked |= {
                out.hash_info.value: out.def_path
                for out in outputs
                if out.hash_info and _has_shards(out)
            }
    for md5, path in locked.items():
        yield from (read_index(file) for file in _cached_indexes(md5, path, cache))
    yield from (read_index(path) for path in Path("data").rglob(f"*{SUFFIX}"))


def _has_shards(out: Output) -> bool:
    """Whether it is an index, or the output of a stage that wrote its arrays in shards, as the
    commit's dvc.lock says."""
    if out.def_path.endswith(SUFFIX):
        return True
    locked = (dep.hash_info.value for dep in out.stage.deps if isinstance(dep, ParamsDependency))
    return any(values.get("arrays.format") == "shards" for values in locked if values)


def _cached_indexes(md5: str, path: str, cache: Reader) -> Iterator[Path]:
    """The files in DVC's cache of the indexes in an output of some commit, a folder or a file."""
    found = {path: md5}
    if md5.endswith(".dir"):
        listing = cache.object(md5)
        _check_cached(listing, path)
        entries = json.loads(listing.read_bytes())
        found = {f"{path}/{entry['relpath']}": entry["md5"] for entry in entries}
    for name, own_md5 in found.items():
        if name.endswith(SUFFIX):
            file = cache.object(own_md5)
            _check_cached(file, name)
            yield file


def _check_cached(file: Path, path: str) -> None:
    if not file.exists():
        raise PipelineError(
            f"some commit's {path} is not in DVC's cache; run `dvc fetch --all-commits` first"
        )
