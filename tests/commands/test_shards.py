"""`python -m transfer shards` where DVC cannot read a commit; tests/storage/test_s3_pipeline.py has
the rest."""

from pathlib import Path

import pytest
from dvc import cli

from tests.helpers.tiny_pipeline import call
from transfer.commands.shards import all_indexes
from transfer.runtime.errors import PipelineError


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
