"""What Python, editors and desktops leave in the folders of code makes no stage stale: real DVC,
the stages' real folders."""

import shutil
from pathlib import Path

import pytest
import yaml

from tests.helpers.tiny_pipeline import ROOT, call, repro

LEFT_BEHIND = [
    "__pycache__/stage.cpython-311.pyc",
    "stage.pyc",
    "stage.pyo",
    "stage.py~",
    ".stage.py.swp",
    ".#stage.py",
    "#stage.py#",
    ".DS_Store",
    ".idea/workspace.xml",
    ".vscode/settings.json",
    ".ipynb_checkpoints/stage.py",
]


@pytest.fixture(scope="module")
def reproduced(tmp_path_factory) -> Path:
    """A project of one stage, which depends on all folders of code that stages list, and copies
    nothing but a line."""
    project = tmp_path_factory.mktemp("ignored") / "project"
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    folders = sorted(
        {dep for stage in stages.values() for dep in stage["deps"] if dep.startswith("transfer/")}
    )
    assert len(folders) > 10
    for folder in folders:
        shutil.copytree(
            ROOT / folder, project / folder, ignore=shutil.ignore_patterns("__pycache__")
        )
    (project / ".dvc").mkdir()
    (project / ".dvc/config").write_bytes((ROOT / ".dvc/config").read_bytes())
    (project / ".dvcignore").write_bytes((ROOT / ".dvcignore").read_bytes())
    (project / "dvc.yaml").write_text(
        yaml.safe_dump(
            {"stages": {"copy": {"cmd": "echo > out", "deps": folders, "outs": ["out"]}}}
        )
    )
    call("git", "init", "--quiet", cwd=project)
    assert repro(project).stages == ["copy"]
    return project


@pytest.fixture
def project(reproduced, tmp_path) -> Path:
    return Path(shutil.copytree(reproduced, tmp_path / "project", symlinks=True))


def leave(project: Path, name: str) -> None:
    for folder in ("transfer/runtime", "transfer/report/templates"):
        path = project / folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"left behind")


def test_what_tools_leave_behind_makes_nothing_stale(project):
    for name in LEFT_BEHIND:
        leave(project, name)
    assert "up to date" in call("dvc", "status", cwd=project).stdout
    assert repro(project).stages == []


@pytest.mark.parametrize("name", ["new.py", "new.html.j2", "deeper/new.py"])
def test_a_new_file_of_code_makes_the_stage_run_again(project, name):
    leave(project, name)
    assert repro(project).stages == ["copy"]


def test_images_are_not_ignored_by_such_names(project):
    """A picture that is called as an editor calls its copies is one of the user's."""
    (project / "images").mkdir()
    for name in ("a.png~", "#a#"):
        (project / "images" / name).touch()
        assert (
            call("dvc", "check-ignore", f"images/{name}", cwd=project, check=False).returncode == 1
        )


def test_what_systems_leave_beside_images_is_ignored_in_any_case(project):
    left = [
        *("cat/.DS_Store", "cat/._1.png", "cat/Thumbs.DB", "cat/THUMBS.DB", "cat/EhThumbs.db"),
        *(
            "Desktop.ini",
            "cat/.directory",
            "__MACOSX/x",
            "cat/@eaDir/1.png/x.jpg",
            "#recycle/1.png",
        ),
        *("$RECYCLE.BIN/x", "System Volume Information/x", "lost+found/1.png", ".Trash-1000/x"),
    ]
    for name in left:
        (project / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (project / "images" / name).touch()
    names = [f"images/{name}" for name in [*left, "cat/1.png", "trash/1.png"]]
    said = call("dvc", "check-ignore", *names, cwd=project).stdout
    assert said.splitlines() == names[:-2]
