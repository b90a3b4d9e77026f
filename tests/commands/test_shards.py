"""`python -m transfer shards unused` and the commits; tests/storage/test_s3_pipeline.py has the
rest."""

import shutil
from pathlib import Path

import pytest
from dvc import cli

from tests.helpers.shards import random, write
from tests.helpers.tiny_pipeline import call
from tests.helpers.tiny_sources import write_params
from transfer.commands.shards import all_indexes, print_unused
from transfer.runtime.errors import PipelineError
from transfer.storage.object_store import ObjectStore


@pytest.fixture
def two_commits(project: Path) -> ObjectStore:
    """A project whose stage has other shards in each of two commits; the store with all of them."""
    call("git", "init", "--quiet", cwd=project)
    assert cli.main(["init", "--quiet"]) == 0
    (project / "place").mkdir()
    (project / ".gitignore").write_text("/place\n")
    store = ObjectStore(str(project / "place"), "resources.shards_url")
    (project / "dvc.yaml").write_text(
        "stages: {extract: {cmd: x, params: [arrays.format], outs: [data/features/train]}}\n"
    )
    write_params(project, arrays={"format": "shards"})
    for factor in (1, 2):
        index = project / "data/features/train/features.shards"
        index.parent.mkdir(parents=True, exist_ok=True)
        write(index, factor * random(8, 2), store)
        assert cli.main(["commit", "--quiet", "--force"]) == 0
        call("git", "add", "--all", cwd=project)
        call("git", "commit", "--quiet", "--message", f"{factor}", cwd=project)
    return store


def forget(pattern: str) -> None:
    """Delete these files of DVC's cache."""
    for file in [*Path(".dvc/cache/files").rglob(pattern)]:
        if file.is_file():
            file.unlink()


def test_shards_of_an_earlier_commit_are_not_unused(two_commits, capsys):
    """A shard that nobody names is, and half of one, which a killed stage leaves in a folder."""
    name = "c" * 62 + ".npy"
    unused = [f"ab/.tmp-{'0' * 16}-{name}", f"ab/{name}"]
    others = ["ab/.tmp-notes.npy", "notes.txt"]
    for each in unused + others:
        Path(two_commits.url, each).parent.mkdir(exist_ok=True)
        Path(two_commits.url, each).write_bytes(b"stray")
    print_unused(two_commits, delete=True)
    *listed, summary = capsys.readouterr().out.splitlines()
    assert listed == unused
    assert summary == "shards: 2 shards that no index names, 0.0 MB, deleted"
    named = {shard.name for index in all_indexes() for shard in index.shards}
    assert len(named) == 4
    assert {name for name, size in two_commits.walk() if size is not None} == named | {*others}


@pytest.mark.parametrize("lost", ["*.dir", "*[0-9a-f]"])
def test_nothing_is_called_unused_while_an_earlier_commits_index_is_missing(two_commits, lost):
    forget(lost)
    with pytest.raises(PipelineError, match="data/features/train.* is not in DVC's cache"):
        print_unused(two_commits, delete=True)
    assert len([*Path(two_commits.url).rglob("*.npy")]) == 4


def test_a_commit_with_other_arrays_needs_nothing_in_the_cache(two_commits):
    write_params(Path(), arrays={"format": "npy"})
    shutil.rmtree("data")
    Path("data/features/train").mkdir(parents=True)
    Path("data/features/train/features.npy").write_bytes(b"array")
    assert cli.main(["commit", "--quiet", "--force"]) == 0
    call("git", "add", "--all", cwd=Path.cwd())
    call("git", "commit", "--quiet", "--message", "npy", cwd=Path.cwd())
    (listing,) = (
        file
        for file in Path(".dvc/cache/files").rglob("*.dir")
        if b"features.npy" in file.read_bytes()
    )
    listing.unlink()
    assert len([*all_indexes()]) == 2


def test_a_commit_whose_remote_does_not_know_the_local_settings_is_named(project: Path):
    call("git", "init", "--quiet", cwd=project)
    assert cli.main(["init", "--quiet"]) == 0
    remote = "[core]\n    remote = storage\n['remote \"storage\"']\n    url = "
    (project / "dvc.yaml").write_text("stages: {make: {cmd: make, outs: [made]}}\n")
    shas = []
    for url in ("/somewhere", "s3://bucket/path"):
        (project / ".dvc/config").write_text(f"{remote}{url}\n")
        call("git", "add", "--all", cwd=project)
        call("git", "commit", "--quiet", "--message", url, cwd=project)
        shas.append(call("git", "rev-parse", "HEAD", cwd=project).stdout.strip())
    (project / ".dvc/config.local").write_text("['remote \"storage\"']\n    access_key_id = key\n")
    with pytest.raises(PipelineError, match=rf"revision {shas[0]}: DVC cannot read it \(config"):
        [*all_indexes()]
