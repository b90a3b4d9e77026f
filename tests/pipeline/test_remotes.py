"""Remotes on real servers: what a clone gets from them, and what is noticed when they, or what came
from them, are damaged."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from dvc import cli

from tests.commands.test_verify import flip
from tests.helpers.remotes import S3, Remote, free_ports, s3_server, ssh_server
from tests.helpers.tiny_pipeline import (
    EVALUATIONS,
    ROOT,
    STAGES,
    call,
    copy_world,
    environment,
    repro,
    set_param,
)

NAME = "plots/predictions.csv"  # an output that is a file


@pytest.fixture(scope="module")
def origin(base: Path, tmp_path_factory) -> Path:
    """A copy of the reproduced world; it pushes, and others clone it."""
    return copy_world(base, tmp_path_factory.mktemp("origin") / "origin")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Remote:
    return Remote(str(tmp_path_factory.mktemp("folder")))


@pytest.fixture(scope="module")
def s3(tmp_path_factory) -> Iterator[S3]:
    with s3_server(tmp_path_factory.mktemp("s3"), free_ports(8)) as remote:
        yield remote


@pytest.fixture(scope="module")
def ssh(tmp_path_factory) -> Iterator[Remote]:
    with ssh_server(tmp_path_factory.mktemp("ssh")) as remote:
        yield remote


@pytest.fixture(scope="module")
def pushed(origin, folder, s3) -> Path:
    """The origin, pushed to the folder and to the S3 server."""
    for remote in (folder, s3):
        push(origin, remote)
    return origin


def push(origin: Path, remote: Remote) -> None:
    remote.set_up(origin, "shared")
    call("dvc", "push", "--run-cache", cwd=origin)


def clone(origin: Path, target: Path, remote: Remote, **settings: object) -> Path:
    call("git", "clone", "--quiet", str(origin), str(target), cwd=origin)
    remote.set_up(target, "shared", **settings)
    return target


def run_verify(project: Path) -> subprocess.CompletedProcess:
    return call("python", "-m", "transfer", "verify", cwd=project, check=False)


def run_printed(project: Path, text: str) -> None:
    for line in re.findall(r"^    (\w.*)", text, re.MULTILINE):
        call(*shlex.split(line), cwd=project)


def cached(project: Path) -> set[str]:
    return {
        path.relative_to(project).as_posix()
        for path in (project / ".dvc/cache/files").rglob("*")
        if path.is_file()
    }


def stored_name(project: Path, path: str) -> str:
    """The name that an output has in every remote."""
    stages = yaml.safe_load((project / "dvc.lock").read_text())["stages"].values()
    [md5] = [out["md5"] for stage in stages for out in stage["outs"] if out["path"] == path]
    return f"shared/files/md5/{md5[:2]}/{md5[2:]}"


def flip_in(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize("kind", ["folder", "s3", "ssh"])
def test_a_fresh_clone_pulls_all_and_runs_nothing(request, pushed, tmp_path, kind):
    remote = request.getfixturevalue(kind)
    if kind == "ssh":
        push(pushed, remote)
    project = clone(pushed, tmp_path / "clone", remote, verify=True)
    call("dvc", "pull", cwd=project)
    assert repro(project).stages == []
    assert call("git", "status", "--porcelain", cwd=project).stdout == ""
    assert cached(project) >= {name for name in cached(pushed) if (project / name).exists()}
    assert (project / "models/finetuned/model.weights.h5").read_bytes() == (
        pushed / "models/finetuned/model.weights.h5"
    ).read_bytes()


@pytest.mark.slow
def test_a_clone_without_a_lock_restores_from_the_shared_run_cache_instead_of_training(
    pushed, s3, tmp_path
):
    project = clone(pushed, tmp_path / "clone", s3, verify=True)
    (project / "dvc.lock").unlink()
    reproduced = repro(project, "--pull")
    # some of what they write is in git, not in the cache
    assert reproduced.stages == ["audit", "report"]
    assert re.findall(r"Stage '([\w@]+)' is cached - skipping run", reproduced.text) == [
        name for name in STAGES if name not in reproduced.stages
    ]
    assert call("git", "status", "--porcelain", cwd=project).stdout == ""


@pytest.mark.slow
def test_a_changed_evaluate_fetches_only_what_it_needs(pushed, folder, tmp_path):
    project = clone(pushed, tmp_path / "clone", folder, verify=True)
    set_param(project, "evaluate.max_mistakes", 1)  # each model has made two or more
    expected = [*EVALUATIONS, "report"]
    assert repro(project, "--pull", "--allow-missing").stages == expected
    stages = yaml.safe_load((pushed / "dvc.lock").read_text())["stages"]
    ran = [stages.pop(name) for name in expected]
    outs = {out["path"] for stage in stages.values() for out in stage["outs"]} - {
        "metrics/audit.json"
    }  # in git
    needed = {dep["path"] for stage in ran for dep in stage["deps"]} & outs
    assert {path for path in outs if (project / path).exists()} == needed
    held = {f"shared/{name.removeprefix('.dvc/cache/')}" for name in cached(project)}
    assert {path for path in outs if stored_name(pushed, path) in held} == needed
    assert "data/views" not in needed


@pytest.mark.slow
def test_a_changed_training_runs_once_the_other_models_are_fetched(pushed, folder, tmp_path):
    """DVC fetches nothing of a folder of which it has some outputs (docs/reliability.md)."""
    project = clone(pushed, tmp_path / "clone", folder, verify=True)
    set_param(project, "train_head.units", 5)
    failed = call("dvc", "repro", "--pull", "--allow-missing", cwd=project, check=False)
    assert failed.returncode and "scores.json is missing; run `dvc repro` or" in failed.stderr
    page = (ROOT / "docs/reliability.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^    (dvc pull evaluate .*)$", page, re.MULTILINE)
    call(*shlex.split(command), cwd=project)
    assert repro(project, "--pull", "--allow-missing").stages == ["report"]
    assert not (project / "data/views").exists()


@pytest.mark.parametrize("kind", ["folder", pytest.param("s3", marks=pytest.mark.slow)])
def test_a_damaged_object_is_used_silently_by_dvc_noticed_by_verify_and_sent_again_once_deleted(
    request, pushed, tmp_path, kind
):
    remote, name = request.getfixturevalue(kind), stored_name(pushed, NAME)
    good = (pushed / NAME).read_bytes()
    if kind == "s3":
        remote.bucket.write(name, flip_in(remote.bucket.read(name)))
    else:
        flip(Path(remote.url, name))

    careless = clone(pushed, tmp_path / "careless", remote)
    call("dvc", "pull", NAME, cwd=careless)
    assert (careless / NAME).read_bytes() == flip_in(good)
    said = run_verify(careless)
    assert said.returncode == 1
    assert f"{NAME}: damaged in the workspace, damaged in the cache" in said.stdout

    project = clone(pushed, tmp_path / "clone", remote, verify=True)
    refused = call("dvc", "pull", NAME, cwd=project, check=False)
    assert refused.returncode != 0
    assert NAME in refused.stderr
    assert not (project / NAME).exists()
    assert cached(project) == set()

    remote.set_up(pushed, "shared")
    assert "up to date" in call("dvc", "push", cwd=pushed).stdout  # it is there, by its name
    if kind == "s3":
        remote.bucket.delete(name)
    else:
        Path(remote.url, name).unlink()
    missing = call("dvc", "pull", NAME, cwd=project, check=False)
    assert missing.returncode != 0
    assert NAME in missing.stderr
    assert Path(name).parent.name + Path(name).name in missing.stderr
    assert "1 file pushed" in call("dvc", "push", cwd=pushed).stdout
    call("dvc", "pull", NAME, cwd=project)
    assert (project / NAME).read_bytes() == good


def test_a_missing_file_of_a_pushed_folder_is_sent_again_once_its_listing_is_deleted(
    pushed, folder, tmp_path
):
    """DVC remembers what a folder's listing in the remote stood for, and believes that for as long
    as the listing is there."""
    folder.set_up(pushed, "shared")
    evaluated = "data/evaluation/head"
    listing = Path(folder.url, stored_name(pushed, evaluated))
    content = (pushed / evaluated / "scores.json").read_bytes()
    [member] = [
        path
        for path in Path(folder.url, "shared/files").rglob("*")
        if path.is_file() and path.read_bytes() == content
    ]
    member.unlink()
    assert "up to date" in call("dvc", "push", cwd=pushed).stdout
    project = clone(pushed, tmp_path / "clone", folder, verify=True)
    refused = call("dvc", "pull", evaluated, cwd=project, check=False)
    assert refused.returncode != 0
    assert member.parent.name + member.name in refused.stderr
    listing.unlink()
    assert "2 files pushed" in call("dvc", "push", cwd=pushed).stdout
    call("dvc", "pull", evaluated, cwd=project)
    assert (project / evaluated / "scores.json").read_bytes() == content


def test_verify_finds_a_flipped_bit_that_dvc_misses_and_what_it_prints_repairs_it(
    pushed, folder, tmp_path
):
    project = clone(pushed, tmp_path / "clone", folder, verify=True)
    call("dvc", "pull", cwd=project)
    flip(project / NAME)
    assert "up to date" in call("dvc", "status", "dvc.yaml", cwd=project).stdout
    said = run_verify(project)
    assert said.returncode == 1
    assert said.stdout.startswith(f"{NAME}: damaged in the workspace\n")
    run_printed(project, said.stdout)
    assert run_verify(project).returncode == 0
    assert (project / NAME).read_bytes() == (pushed / NAME).read_bytes()


def test_wrong_keys_end_in_one_sentence_and_nothing_is_written(pushed, s3, tmp_path):
    project = clone(pushed, tmp_path / "clone", s3, secret_access_key="wrong")
    stored = s3.bucket.names("shared")
    pulled = call("dvc", "pull", NAME, cwd=project, check=False)
    s3.set_up(pushed, "other", secret_access_key="wrong")
    sent = call("dvc", "push", cwd=pushed, check=False)
    for finished in (pulled, sent):
        assert finished.returncode != 0
        assert "Forbidden" in finished.stderr
        assert "Traceback" not in finished.stderr
    assert not (project / NAME).exists()
    assert cached(project) == set()
    assert s3.bucket.names("shared") == stored
    assert s3.bucket.names("other") == []


def test_a_wrong_ssh_key_ends_in_one_sentence(pushed, ssh, tmp_path):
    project = clone(
        pushed, tmp_path / "clone", ssh, keyfile=ssh.settings["keyfile"].with_name("host")
    )
    pulled = call("dvc", "pull", NAME, cwd=project, check=False)
    assert pulled.returncode != 0
    assert "Permission denied" in pulled.stderr
    assert "Traceback" not in pulled.stderr
    assert cached(project) == set()


@pytest.mark.slow
def test_a_server_that_dies_mid_push_is_noticed_and_the_next_push_completes_it(origin, tmp_path):
    ports = free_ports(8)
    folder = tmp_path / "s3"
    folder.mkdir()
    with s3_server(folder, ports) as s3:
        s3.set_up(origin, "shared")
        sending = subprocess.Popen(
            ["dvc", "push"],
            cwd=origin,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        while not s3.bucket.names("shared"):
            assert sending.poll() is None
        held = s3.bucket.names("shared")
        s3.process.kill()
        _, error = sending.communicate(timeout=120)
        assert sending.returncode != 0
        assert "ERROR" in error
    with s3_server(folder, ports) as s3:
        assert 0 < len(held) < len(cached(origin))
        call("dvc", "push", cwd=origin)
        project = clone(origin, tmp_path / "clone", s3, verify=True)
        call("dvc", "pull", cwd=project)
        assert run_verify(project).returncode == 0


# of DVC's own libraries, as it runs in this process
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_dvc_takes_every_remote_and_setting_that_the_page_names(tmp_path, monkeypatch):
    text = (ROOT / "docs/sharing.md").read_text(encoding="utf-8")
    section = text.split("## Set up a remote")[1].split("\n## ")[0]
    rows = re.findall(r"^\|.*`dvc (remote add .*)` \|(.*)\|$", section, re.MULTILINE)
    lines = [
        line
        for add, names in rows
        for line in (
            add,
            *(f"remote modify storage {name} 22" for name in re.findall(r"`(\w+)`", names)),
        )
    ]
    lines += re.findall(r"^    dvc (remote .*)", section, re.MULTILINE)
    assert len(rows) == 5
    assert lines[-1].split("#")[0].split() == ["remote", "modify", "storage", "verify", "true"]
    call("git", "init", "--quiet", cwd=tmp_path)
    call("dvc", "init", "--quiet", cwd=tmp_path)
    monkeypatch.chdir(tmp_path)
    for line in lines:
        words = shlex.split(line, comments=True)
        assert cli.main([*words, *(["--force"] if "add" in words else [])]) == 0, line
