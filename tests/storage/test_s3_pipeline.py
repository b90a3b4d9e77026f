"""The pipeline from images on a real S3 server to shards on it, from end to end."""

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from tests.helpers.local_cluster import cluster
from tests.helpers.remotes import BUCKET, READER, S3
from tests.helpers.tiny_pipeline import (
    EVALUATIONS,
    build_world,
    call,
    environment,
    repro,
    set_param,
)
from transfer.runtime.checksums import file_checksum
from transfer.storage.sharded_array import read_index

INDEXES = [
    *(f"data/images/{split}/images" for split in ("train", "validation", "test")),
    *(
        f"data/features/{split}/{input_kind}"
        for split in ("train", "validation", "test")
        for input_kind in ("features", "cut")
    ),
    *("data/views/features", "data/views/cut"),
]


def on_s3(project: Path, s3: S3, **params: object) -> Path:
    """The tiny world, not reproduced, with its images in the bucket and nowhere else."""
    build_world(project)
    for image in sorted((project / "images").rglob("*.png")):
        s3.bucket.write(image.relative_to(project.parent).as_posix(), image.read_bytes())
    shutil.rmtree(project / "images")
    place = f"s3://{BUCKET}/{project.name}"
    own = {
        "split.source": f"{place}/images",
        "arrays.format": "shards",
        "resources.shards_url": f"{place}/shards",
        "arrays.shard_rows": 5,
    }
    for key, value in (own | params).items():
        set_param(project, key, value)
    return project


def named(project: Path) -> list[str]:
    return [
        shard.name for path in INDEXES for shard in read_index(project / f"{path}.shards").shards
    ]


@pytest.fixture(scope="module")
def reproduced(server, tmp_path_factory) -> Path:
    """The tiny world from images on S3 to shards on S3."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in server.variables.items():
            patch.setenv(name, value)
        project = on_s3(
            tmp_path_factory.mktemp("s3") / "world", server, **{"split.manifest": "parquet"}
        )
        repro(project)
        call("git", "add", "--all", cwd=project)
        call("git", "commit", "--quiet", "--message", "reproduced", cwd=project)
    return project


SHOW_THE_PARAMETERS = ("plots/report.html", "MODEL_CARD.md")


@pytest.mark.slow
def test_the_models_and_their_scores_are_those_of_one_file_an_array(base, reproduced):
    outputs = yaml.safe_load((base / "dvc.lock").read_text())["stages"]
    compared = 0
    for stage in (
        "train_scratch",
        "train_head",
        "train_augmented",
        "finetune",
        *EVALUATIONS,
        "report",
        "audit",
    ):
        for out in outputs[stage]["outs"]:
            if out["path"] in SHOW_THE_PARAMETERS:
                continue
            files = [file for file in (base / out["path"]).rglob("*") if file.is_file()] or [
                base / out["path"]
            ]
            for file in files:
                if file.is_file():
                    assert (
                        reproduced / file.relative_to(base)
                    ).read_bytes() == file.read_bytes(), file
                    compared += 1
    assert compared > 40


@pytest.mark.slow
def test_the_bucket_has_each_shard_once_and_nothing_else_and_dvc_has_the_indexes(s3, reproduced):
    assert sorted(s3.bucket.names("world/shards/")) == sorted(
        f"world/shards/{name}" for name in set(named(reproduced))
    )
    lock = (reproduced / "dvc.lock").read_text()
    assert all(str(Path(path).parent) in lock for path in INDEXES)
    assert all((reproduced / f"{path}.shards").is_file() for path in INDEXES)
    assert not [
        path
        for path in (reproduced / "data").rglob("*")
        if path.suffix == ".npy" or path.name.startswith(".tmp")
    ]
    cached = {
        file_checksum(path)
        for path in (reproduced / ".dvc/cache/files").rglob("*")
        if path.is_file()
    }
    shards = {
        shard.sha256
        for path in INDEXES
        for shard in read_index(reproduced / f"{path}.shards").shards
    }
    assert cached and shards and not cached & shards


@pytest.mark.slow
def test_nothing_runs_again_not_even_from_another_bucket(s3, reproduced, tmp_path):
    assert repro(reproduced).stages == []
    moved = Path(shutil.copytree(reproduced, tmp_path / "moved", symlinks=True))
    for name in s3.bucket.names("world/shards/"):
        s3.bucket.write(name.replace("world/shards/", "elsewhere/"), s3.bucket.read(name))
    set_param(moved, "resources.shards_url", f"s3://{BUCKET}/elsewhere")
    assert repro(moved).stages == []
    set_param(moved, "train_head.units", 6)
    assert repro(moved, "train_head").stages == ["train_head"]


@pytest.mark.slow
def test_a_clone_with_the_remote_and_the_bucket_trains_without_computing(s3, reproduced, tmp_path):
    s3.set_up(reproduced, "remote")
    call("dvc", "push", cwd=reproduced)
    clone = tmp_path / "clone"
    call("git", "clone", "--quiet", str(reproduced), str(clone), cwd=reproduced)
    s3.set_up(clone, "remote")
    call("dvc", "pull", cwd=clone)
    set_param(clone, "train_head.units", 6)
    assert repro(clone, "train_head").stages == ["train_head"]
    assert not (clone / ".rows").exists()


@pytest.mark.slow
def test_a_damaged_and_a_lost_shard_are_noticed_and_what_is_printed_repairs_them(
    s3, reproduced, tmp_path
):
    project = Path(shutil.copytree(reproduced, tmp_path / "project", symlinks=True))
    damaged, lost = (
        read_index(project / f"data/features/{name}.shards").shards[0].name
        for name in ("train/features", "validation/cut")
    )
    content = s3.bucket.read(f"world/shards/{damaged}")
    s3.bucket.write(f"world/shards/{damaged}", content[:-1] + bytes([content[-1] ^ 1]))
    s3.bucket.delete(f"world/shards/{lost}")
    set_param(project, "train_head.units", 6)
    refused = call("dvc", "repro", "train_head", cwd=project, check=False)
    assert (
        refused.returncode
        and f"{damaged}, a shard of data/features/train/features.shards, is damaged"
        in refused.stderr
    )
    set_param(project, "train_head.units", 4)
    call("dvc", "checkout", cwd=project)
    said = call("python", "-m", "transfer", "verify", cwd=project, check=False)
    assert (
        f"data/features/train/features.shards: shard {damaged} damaged at resources.shards_url"
        in said.stdout
    )
    assert (
        f"data/features/validation/cut.shards: shard {lost} missing at resources.shards_url"
        in said.stdout
    )
    for line in [line.strip() for line in said.stdout.splitlines() if line.startswith("    ")]:
        call(*line.split(), cwd=project)
    assert "no problems" in call("python", "-m", "transfer", "verify", cwd=project).stdout
    assert s3.bucket.read(f"world/shards/{damaged}") == content
    assert repro(project).stages == []


@pytest.mark.slow
def test_what_no_index_names_is_listed_and_deleted_and_nothing_else(s3, reproduced):
    before = set(s3.bucket.names("world/"))
    stray = f"world/shards/ab/{'c' * 62}.npy"
    s3.bucket.write(stray, b"stray")
    s3.bucket.write("world/shards/notes.txt", b"of somebody else")
    assert (
        f"ab/{'c' * 62}.npy\n"
        in call("python", "-m", "transfer", "shards", "unused", cwd=reproduced).stdout
    )
    assert stray in s3.bucket.names("world/")
    call("python", "-m", "transfer", "shards", "unused", "--delete", cwd=reproduced)
    assert set(s3.bucket.names("world/")) == before | {"world/shards/notes.txt"}
    s3.bucket.delete("world/shards/notes.txt")


@pytest.mark.slow
def test_a_killed_stage_leaves_no_index_and_ends_the_same_when_run_again(s3, reproduced, tmp_path):
    project = Path(shutil.copytree(reproduced, tmp_path / "project", symlinks=True))
    index = project / "data/views/features.shards"
    expected = index.read_bytes()
    (project / "dvc.lock").unlink()
    index.unlink()
    shutil.rmtree(project / ".rows")
    with subprocess.Popen(
        ["python", "-m", "stages.augment"],
        cwd=project,
        env=environment(),
        stderr=subprocess.DEVNULL,
    ) as stage:
        while not list(project.glob(".rows/*/*.shards")):  # the note of the first shard
            assert stage.poll() is None
            time.sleep(0.01)
        os.kill(stage.pid, signal.SIGKILL)
    assert not index.exists()
    said = call("python", "-m", "stages.augment", cwd=project).stdout
    assert index.read_bytes() == expected
    assert "features: 0 rows were known" not in said
    assert [path.name for path in index.parent.iterdir() if path.name.startswith(".tmp")] == []


@pytest.mark.slow
def test_a_stage_that_cannot_write_to_the_bucket_stops_before_it_works(
    s3, reproduced, tmp_path, monkeypatch
):
    project = Path(shutil.copytree(reproduced, tmp_path / "project", symlinks=True))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", READER)
    refused = call("python", "-m", "stages.extract", cwd=project, check=False)
    assert refused.returncode == 1
    assert (
        "extract: resources.shards_url = " in refused.stderr
        and "refused" in refused.stderr
        and "Traceback" not in refused.stderr
    )
    assert json.loads((project / "metrics/accuracy.json").read_text())


@pytest.mark.slow
def test_a_clusters_workers_read_the_bucket_and_the_same_shards_are_made(s3, reproduced, tmp_path):
    project = Path(shutil.copytree(reproduced, tmp_path / "project", symlinks=True))
    made = [*(f"{path}.shards" for path in INDEXES), "data/manifest/manifest.parquet"]
    for path in [*made, ".rows"]:
        shutil.rmtree(project / path) if (project / path).is_dir() else (project / path).unlink()
    with cluster() as nodes:
        nodes.add()
        for name, value in {"engine": "ray", "address": nodes.address}.items():
            set_param(project, f"resources.{name}", value)
        for stage in ("split", "decode", "extract", "augment"):
            assert (
                "1 worker on 1 node of"
                in call("python", "-m", f"stages.{stage}", cwd=project).stdout
            )
    assert all((project / path).read_bytes() == (reproduced / path).read_bytes() for path in made)
