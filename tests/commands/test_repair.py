"""What a killed DVC left half-written is repaired before the next one is called; and DVC works
where there is no git."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from dvc.schema import COMPILED_LOCKFILE_SCHEMA

from tests.helpers.tiny_pipeline import ROOT, build_world, call, copy_world
from transfer.commands import repair
from transfer.runtime.errors import PipelineError

FULL = (ROOT / "dvc.lock").read_bytes()
STAGES = yaml.safe_load(FULL)["stages"]
# Each kind of lines that DVC writes: files, folders, parameters in lists and without a value, an
# address in a bucket.
SMALL = b"""\
schema: '2.0'
stages:
  decode:
    cmd: python -m stages.decode
    deps:
    - path: s3://bucket/images
      size: 4941060
      etag: '"a1"'
    - path: data/manifest/manifest.csv
      hash: md5
      md5: 84b13c0694ce45351f45119c5eb4792e
      size: 13020
    params:
      params.yaml:
        backbone:
          image_size:
          name: VGG16
        decode.interpolation: bilinear
    outs:
    - path: data/images
      hash: md5
      md5: ba6feee2cb25e99b7a90f4228ec0ecd6.dir
      size: 180008367
      nfiles: 6
  report:
    cmd: python -m stages.report
    deps:
    - path: data/images
      hash: md5
      md5: ba6feee2cb25e99b7a90f4228ec0ecd6.dir
      size: 180008367
      nfiles: 6
    outs:
    - path: plots/report.html
      hash: md5
      md5: f2d2a37368f5b575c53bdfe088808496
      size: 494106
"""


@pytest.fixture
def folder(project, monkeypatch) -> Path:
    """An empty project, in no git repository, in which nobody waits for another DVC."""
    monkeypatch.setattr(repair, "SETTLE_SECONDS", 0)
    return project


def commit(folder: Path, content: bytes) -> None:
    (folder / "dvc.lock").write_bytes(content)
    call("git", "init", "--quiet", cwd=folder)
    call("git", "add", "dvc.lock", cwd=folder)
    call("git", "commit", "--quiet", "--message", "lock", cwd=folder)


def stages_of(content: bytes) -> dict:
    lock = COMPILED_LOCKFILE_SCHEMA(yaml.safe_load(content))
    return lock["stages"]


@pytest.mark.parametrize("content", [FULL, SMALL], ids=["the project's", "small"])
def test_a_whole_lock_is_left_alone(folder, content):
    (folder / "dvc.lock").write_bytes(content)
    assert repair.repair_lock(repair.LOCKS[0]) is None
    assert (folder / "dvc.lock").read_bytes() == content


def test_where_nothing_was_damaged_the_command_says_so(folder, capsys):
    commit(folder, FULL)
    repair.main([])
    assert capsys.readouterr().out == "repair: nothing was damaged\n"


@pytest.mark.parametrize("committed", [True, False])
def test_cut_at_any_byte_it_becomes_a_lock_that_dvc_reads_with_nothing_made_up(
    folder, committed, monkeypatch
):
    """What is not seen as cut is a lock as it is: a stage without all of its outputs, which DVC
    then sees as changed."""
    whole = stages_of(SMALL)
    monkeypatch.setattr(repair, "committed_lock", lambda lock: SMALL if committed else b"")
    seen, second = 0, SMALL.index(b"  report:") + len("  r")
    for size in range(len(SMALL)):
        (folder / "dvc.lock").write_bytes(SMALL[:size])
        said = repair.repair_lock(repair.LOCKS[0])
        seen += said is not None
        if not (folder / "dvc.lock").exists():
            assert not committed and size < second
            continue
        found = stages_of((folder / "dvc.lock").read_bytes())
        assert {*found} <= {*whole}
        for name, entry in found.items():
            assert entry["cmd"] == whole[name]["cmd"]
            for key in ("deps", "outs"):
                assert [
                    item for item in entry.get(key, []) if item not in whole[name].get(key, [])
                ] == []
        if said and committed:
            assert found == whole
        if size >= second:
            assert found["decode"] == whole["decode"]
    lines = SMALL.count(b"\n")
    # every cut inside a line, and most of those between two
    assert len(SMALL) - lines <= seen < len(SMALL)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.5, 0.77, 0.999])
def test_what_is_whole_is_kept_and_the_rest_comes_from_the_last_commit(folder, share):
    commit(folder, FULL)
    cut, of_sample = FULL[: int(len(FULL) * share)], "f2d2a37368f5b575c53bdfe088808496"
    # what has run since the commit
    (folder / "dvc.lock").write_bytes(cut.replace(of_sample.encode(), b"b" * 32))
    said = repair.repair_lock(repair.LOCKS[0])
    found = stages_of((folder / "dvc.lock").read_bytes())
    assert list(found) == list(STAGES)
    kept = [name for name in STAGES if found[name] != STAGES[name]]
    assert kept == [
        name
        for name in repair.whole_entries(cut)
        if b"f2d2a37368f5b575c53bdfe088808496" in repair.whole_entries(cut)[name].encode()
    ]
    assert (
        said.startswith("dvc.lock was cut short")
        and f"{len(repair.whole_entries(cut))} of its stages are kept" in said
    )
    assert (folder / ".dvc/tmp/dvc.lock.damaged").read_bytes().startswith(cut[:20])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 4096,
        bytes(np.random.default_rng(0).integers(0, 256, 5000, dtype=np.uint8)),
        b"stages: [",
        b"schema: '2.0'\nstages: 3\n",
        b"- a\n",
    ],
    ids=["empty", "zeros", "noise", "a start", "a number", "a list"],
)
def test_what_is_no_lock_at_all_is_the_last_commits_again(folder, content):
    commit(folder, SMALL)
    (folder / "dvc.lock").write_bytes(content)
    assert "taken from the last commit: decode, report;" in repair.repair_lock(repair.LOCKS[0])
    assert (folder / "dvc.lock").read_bytes() == SMALL


def test_a_lock_without_a_copy_in_git_is_removed_with_a_message(folder):
    (folder / "dvc.lock").write_bytes(SMALL[:90])
    assert (
        "0 of its stages are kept; taken from the last commit: none; missing ones come from "
        "DVC's run-cache" in repair.repair_lock(repair.LOCKS[0])
    )
    assert not (folder / "dvc.lock").exists()


def test_a_lock_that_another_dvc_is_writing_is_waited_for(folder, monkeypatch):
    (folder / "dvc.lock").write_bytes(SMALL[:90])
    monkeypatch.setattr(repair.time, "sleep", lambda _: (folder / "dvc.lock").write_bytes(SMALL))
    assert repair.repair_lock(repair.LOCKS[0]) is None
    assert (folder / "dvc.lock").read_bytes() == SMALL


def test_the_marks_of_a_merge_are_left_to_a_person(folder):
    merged = SMALL.replace(b"  report:", b"<<<<<<< HEAD\n  report:\n=======\n  report:")
    (folder / "dvc.lock").write_bytes(merged)
    with pytest.raises(PipelineError, match="dvc.lock: a merge left its marks"):
        repair.repair()
    assert (folder / "dvc.lock").read_bytes() == merged


@pytest.mark.parametrize(
    "content", [b"", b'{"read": {"/data/a": [{"pid": 1,', b"\0" * 100, b"[]", b"\xff\xfe"]
)
def test_a_cut_rwlock_is_removed(folder, content):
    repair.BUSY.parent.mkdir(parents=True)
    repair.BUSY.write_bytes(content)
    assert repair.repair_busy().startswith(".dvc/tmp/rwlock was cut short")
    assert not repair.BUSY.exists()


def test_a_whole_rwlock_is_left_alone(folder):
    repair.BUSY.parent.mkdir(parents=True)
    repair.BUSY.write_bytes(b'{"read": {"/data/a": [{"pid": 1, "cmd": "dvc repro"}]}, "write": {}}')
    assert repair.repair_busy() is None
    assert repair.BUSY.exists()


# an empty lock is repaired as one that is no lock at all, above
@pytest.mark.parametrize("cut", [pytest.param(0.0, marks=pytest.mark.slow), 0.6])
def test_make_run_repairs_both_and_dvc_then_has_nothing_to_run(base, tmp_path, cut):
    project = copy_world(base, tmp_path / "project")
    whole = (base / "dvc.lock").read_text()
    # within a line: after one that ends a stage's entry, what is left is a whole lock
    end = whole.index("\n", int(cut * len(whole))) - 1 if cut else 0
    (project / "dvc.lock").write_text(whole[:end])
    (project / ".dvc/tmp/rwlock").write_text('{"read": {')
    refused = call("dvc", "status", cwd=project, check=False)
    assert refused.returncode != 0
    said = call("python", "-m", "transfer", "run", cwd=project).stdout
    assert "run: dvc.lock was cut short" in said and "run: .dvc/tmp/rwlock was cut short" in said
    assert "Running stage" not in said
    assert (project / "dvc.lock").read_text() == whole
    assert call("git", "status", "--porcelain", cwd=project).stdout == ""


@pytest.mark.slow
def test_without_git_what_the_lock_lost_comes_from_the_run_cache(base, tmp_path):
    project = copy_world(base, tmp_path / "project")
    shutil.rmtree(project / ".git")
    whole = (base / "dvc.lock").read_text()
    (project / "dvc.lock").write_text(whole[: len(whole) // 2])
    said = call("python", "-m", "transfer", "run", cwd=project).stdout
    assert "is in no git repository, so DVC works without one" in said
    assert "is cached - skipping run" in said and "Running stage 'finetune'" not in said
    assert yaml.safe_load((project / "dvc.lock").read_text()) == yaml.safe_load(whole)


def test_a_project_without_git_runs_and_takes_git_up_again_once_it_is_there(base, tmp_path):
    project = copy_world(base, tmp_path / "project")
    shutil.rmtree(project / ".git")
    first = call("python", "-m", "transfer", "run", cwd=project)
    assert (
        "is in no git repository, so DVC works without one (core.no_scm in .dvc/config.local)"
        in first.stdout
    )
    assert "Data and pipelines are up to date" in first.stdout
    assert "in no git repository" not in call("python", "-m", "transfer", "run", cwd=project).stdout
    call("git", "init", "--quiet", cwd=project)
    assert (
        "there is a git repository now"
        in call("python", "-m", "transfer", "run", cwd=project).stdout
    )
    assert "no_scm" not in (project / ".dvc/config.local").read_text()


def test_a_copy_without_hidden_files_is_a_sentence(folder):
    with pytest.raises(PipelineError, match=r"has no folder \.dvc.*cp -r PROJECT/\. COPY"):
        repair.repair()


def test_what_a_person_has_set_about_git_stays(folder):
    (folder / ".git").mkdir()
    (folder / ".dvc").mkdir()
    (folder / ".dvc/config.local").write_text("[core]\n    no_scm = true\n")
    assert repair.settle_git() is None
    assert (folder / ".dvc/config.local").read_text() == "[core]\n    no_scm = true\n"


def test_a_clone_that_converts_line_ends_has_the_bytes_that_were_committed(tmp_path):
    """dvc.lock has the hashes of code and sample; Git on Windows is set up to convert them."""
    build_world(tmp_path / "project")
    call("git", "add", "--all", cwd=tmp_path / "project")
    call("git", "commit", "--quiet", "--message", "all", cwd=tmp_path / "project")
    call(
        "git",
        "clone",
        "--quiet",
        "--config",
        "core.autocrlf=true",
        "project",
        "clone",
        cwd=tmp_path,
    )
    names = call("git", "ls-files", cwd=tmp_path / "clone").stdout.splitlines()
    assert ".gitattributes" in names and "data/sample/animals.zip" in names
    changed = [
        name
        for name in names
        if (tmp_path / "clone" / name).read_bytes() != (tmp_path / "project" / name).read_bytes()
    ]
    assert changed == []
    assert call("git", "status", "--porcelain", cwd=tmp_path / "clone").stdout == ""
