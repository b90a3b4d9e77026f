"""Fixtures that several test modules share; the builders of tiny worlds are in `worlds` and `pipeline`."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pipeline import CHANGES, STAGES, Reproduced, build_world, call, repro


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


@pytest.fixture(scope="session")
def reruns(base, tmp_path_factory) -> dict[str, tuple[Path, Reproduced]]:
    """Each change made in a copy of its own and reproduced, two at a time: the copy, what ran, what was said."""

    def rerun(name: str) -> tuple[Path, Reproduced]:
        project = Path(shutil.copytree(base, tmp_path_factory.mktemp("change") / "project", symlinks=True))
        CHANGES[name][0](project)
        return project, repro(project)

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(CHANGES, pool.map(rerun, CHANGES), strict=True))
