"""Fixtures that several test modules share; the builders of tiny worlds are in `worlds` and `pipeline`."""

from pathlib import Path

import pytest
from pipeline import STAGES, build_world, call, repro


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project folder, which is the working directory: stages read and write below it."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="session")
def base(tmp_path_factory) -> Path:
    """A clone of the project with tiny parameters and images, reproduced once and committed."""
    project = tmp_path_factory.mktemp("world") / "base"
    build_world(project)
    assert repro(project).stages == STAGES
    call("git", "add", "--all", cwd=project)
    call("git", "commit", "--quiet", "--message", "reproduced", cwd=project)
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
    for path in filter(Path.is_file, (base / "models").iterdir()):
        (world / "models" / path.name).write_bytes(path.read_bytes())
    return world


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that run the whole pipeline come first, so that no process is left with a long one at the end."""
    long = {item.path for item in items if {"base", "little"} & {*item.fixturenames}}
    items.sort(key=lambda item: item.path not in long)
