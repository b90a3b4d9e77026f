"""`decode` on a real cluster, from folders and archives that its nodes see or do not see."""

import os
import shutil
from pathlib import Path

import pytest

from tests.helpers.local_cluster import Cluster, cluster
from tests.helpers.tiny_pipeline import call
from tests.helpers.tiny_sources import REPOSITORY, build, class_folders, write_params

FILES = class_folders(cat=14, dog=16)
HIDDEN = "hidden"  # a folder that one of the nodes does not see


@pytest.fixture
def described(project) -> Path:
    """A project with the code and the real dvc.yaml."""
    shutil.copy(REPOSITORY / "dvc.yaml", project)
    for name in ("stages", "transfer"):
        (project / name).symlink_to(REPOSITORY / name)
    (project / "shards").mkdir()
    return project


def run(project: Path, source: Path, stage: str, nodes: Cluster | None = None) -> str:
    """What a stage prints; on this machine or on a cluster."""
    write_params(
        project,
        split={"source": str(source), "train": 0.5, "validation": 0.3, "test": 0.2},
        backbone={"image_size": 32},
        arrays={"format": "shards", "shard_rows": 4},
        resources={"shards_url": str(project / "shards")}
        | ({"engine": "ray", "address": nodes.address} if nodes else {}),
    )
    return call("python", "-m", f"stages.{stage}", cwd=project).stdout


def indexes(project: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(project.glob("data/images/*/images.shards"))]


@pytest.mark.slow
def test_workers_decode_what_all_nodes_see_and_the_stage_reads_the_rest(described, tmp_path):
    blind = tmp_path / "blind"
    blind.mkdir()
    (blind / "sitecustomize.py").write_text(
        "import pathlib\n"
        "plain = pathlib.Path.is_file\n"
        f"pathlib.Path.is_file = lambda path: {HIDDEN!r} not in str(path) and plain(path)\n"
    )
    sources = {name: build(described / name, FILES) for name in ("folder", "set.zip", HIDDEN)}
    run(described, sources["folder"], "split")
    run(described, sources["folder"], "decode")
    expected = indexes(described)
    assert len(expected) == 3
    with cluster() as nodes:
        nodes.add()
        nodes.add(PYTHONPATH=f"{blind}{os.pathsep}")
        for name, source in sources.items():
            shutil.rmtree(described / "data/images")
            shutil.rmtree(described / "shards")
            (described / "shards").mkdir()
            said = run(described, source, "decode", nodes)
            assert ("this machine reads the images" in said) == (name == HIDDEN)
            assert indexes(described) == expected
            assert list((described / "shards").rglob("*.npy"))
