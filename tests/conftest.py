"""Fixtures that several test modules share; the builders of tiny worlds are in tests/helpers."""

import os

# Models in half precision are tested in this process too, and oneDNN held to AVX2 cannot compute
# them. The stages that it starts inherit it, so that both compute alike; test_instructions.py has
# what a process without it does.
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "ALL")

import transfer  # noqa: F401  the other variables come before all that imports NumPy

# isort: split

import fcntl
import gc
from collections.abc import Generator
from pathlib import Path

# Before Keras, whose import hides all objects from the garbage collector (gc.freeze): Hypothesis
# looks there for the random generators that packages register with it.
import hypothesis  # noqa: F401
import pytest

from tests.helpers.tiny_pipeline import STAGES, build_world, call, copy_world, repro

FIRST = (  # the longest files
    "pipeline/test_pipeline.py",  # its process makes the reproduced world
    # which these do without, for the process that would wait for it
    "cluster/test_ray_engine.py",
    "commands/test_install.py",
    "sources/test_resizing.py",
    "runtime/test_checkpoints.py",
    # and these do not
    "cluster/test_stages.py",
    "pipeline/test_reruns.py",
    "pipeline/test_remotes.py",
    "export/test_export.py",
    "pipeline/test_experiments.py",
    "runtime/test_full_disk.py",
)


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
            return copy_world(Path(first), project)
        build_world(project)
        assert repro(project).stages == STAGES
        call("git", "add", "--all", cwd=project)
        call("git", "commit", "--quiet", "--message", "reproduced", cwd=project)
        made.write(str(project))
    return project


@pytest.fixture
def world(base: Path, project: Path) -> Path:
    """The reproduced world, by links, in a working directory of its own, with the LiteRT files that
    its trainings have kept."""
    for name in ("data", "models", "images", "stages", "transfer", ".cache"):
        (project / name).symlink_to(base / name)
    for name in ("params.yaml", "dvc.lock"):
        (project / name).write_bytes((base / name).read_bytes())
    return project


@pytest.fixture
def own_models(base, world) -> Path:
    """The world with its models copied, so that they can be changed, and without LiteRT files."""
    (world / ".cache").unlink()
    (world / "models").unlink()
    (world / "models").mkdir()
    for path in (base / "models").rglob("*.*"):
        copy = world / path.relative_to(base)
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(path.read_bytes())
    return world


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Imports make no garbage: it is not looked for while the test modules are imported, and later
    not among what they imported."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files in FIRST come first, in that order; then those that need the reproduced world, so that
    no process is left with a long one at the end."""
    with_world = {item.path for item in items if "base" in item.fixturenames}

    def place(item: pytest.Item) -> tuple[int, bool]:
        name = item.path.relative_to(Path(__file__).parent).as_posix()
        return FIRST.index(name) if name in FIRST else len(FIRST), item.path not in with_world

    items.sort(key=place)
