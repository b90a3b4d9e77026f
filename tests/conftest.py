"""Fixtures that several test modules share; the builders of tiny worlds are in tests/helpers."""

import os

# Models in half precision are tested in this process too, and oneDNN held to AVX2 cannot compute
# them. The stages that it starts inherit it, so that both compute alike; test_instructions.py has
# what a process without it does.
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "ALL")

import transfer  # noqa: F401  the other variables come before all that imports NumPy

# isort: split

import fcntl
import shutil
from pathlib import Path

import pytest

from tests.helpers.tiny_pipeline import STAGES, build_world, call, repro

MEANWHILE = 8  # files


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project folder, which is the working directory: stages read and write below it."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="session")
def base(tmp_path_factory) -> Path:
    """A clone of the project with tiny parameters and images, reproduced and committed: by the
    first test process, copied by the others."""
    project = tmp_path_factory.mktemp("world") / "base"
    own = tmp_path_factory.getbasetemp()
    with ((own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "base.txt").open(
        "a+"
    ) as made:
        fcntl.flock(made, fcntl.LOCK_EX)
        made.seek(0)
        first = made.read()
        if first and Path(first).exists():
            return Path(shutil.copytree(first, project, symlinks=True))
        build_world(project)
        assert repro(project).stages == STAGES
        call("git", "add", "--all", cwd=project)
        call("git", "commit", "--quiet", "--message", "reproduced", cwd=project)
        made.write(str(project))
    return project


@pytest.fixture
def world(base: Path, project: Path) -> Path:
    """The reproduced world, by links, in a working directory of its own."""
    for name in ("data", "models", "images", "stages", "transfer"):
        (project / name).symlink_to(base / name)
    for name in ("params.yaml", "dvc.lock"):
        (project / name).write_bytes((base / name).read_bytes())
    return project


@pytest.fixture
def own_models(base, world) -> Path:
    """The world with its models copied, so that they can be changed."""
    (world / "models").unlink()
    (world / "models").mkdir()
    for path in (base / "models").rglob("*.*"):
        copy = world / path.relative_to(base)
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(path.read_bytes())
    return world


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that need the reproduced world come first, so that no process is left with a long one
    at the end.

    While one process makes that world, the others have a few files that do without.
    """
    long = dict.fromkeys(item.path for item in items if "base" in item.fixturenames)
    short = dict.fromkeys(item.path for item in items if item.path not in long)
    order = [*list(long)[:1], *list(short)[:MEANWHILE], *list(long)[1:], *list(short)[MEANWHILE:]]
    items.sort(key=lambda item: order.index(item.path))
