"""The Makefile's environments: what each target installs, and when an environment is made again."""

import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import http_servers
from tests.helpers.tiny_sources import REPOSITORY
from tests.helpers.wheels import build_wheel, lock_for

pytestmark = pytest.mark.usefixtures("loopback_alone")


def test_set_up_installs_nothing_past_this_program_and_unhashed_what_only_other_backends_need():
    lines = [
        line
        for line in (REPOSITORY / "Makefile").read_text(encoding="utf-8").splitlines()
        if line.startswith("\t")
    ]
    assert not [line for line in lines if "pip install" in line]
    installs = [line for line in lines if "tools/install.py" in line]
    assert len(installs) == 7
    assert [line.split()[-1] for line in installs if "--unhashed" in line] == [
        "requirements/backends.txt"
    ]


TARGETS = {  # the extras that each target installs
    "run": [],
    "export": ["export"],
    "reproduce": ["export"],
    "verify": [],
    "demo": ["demo"],
    "sweep": ["sweep"],
    "lint": ["lint"],
    "scale": ["ray", "scale"],
    "test": [
        *("demo", "export", "fonts", "heic", "hub", "lint", "parquet", "ray", "s3", "scale", "ssh"),
        *("sweep", "tests"),
    ],
}


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_installs_the_extras_that_it_needs_once(target, tmp_path):
    project = copy_makefile(tmp_path / "project")
    (project / "requirements.txt").write_text("")
    shutil.copytree(REPOSITORY / "requirements", project / "requirements")
    (project / ".venv").mkdir()
    (project / ".venv/installed").write_text(f"{project}\n")
    said = make(project, "--dry-run", target).stdout
    assert sorted(re.findall(r"requirements/(\w+)\.txt", said)) == TARGETS[target]
    for extra in TARGETS[target]:
        (project / ".venv" / f"extra-{extra}").touch()
    assert "tools/install.py" not in make(project, "--dry-run", target).stdout


def test_a_new_lock_of_an_extra_is_installed_and_a_new_environment_has_no_extra(tmp_path):
    project = copy_makefile(tmp_path / "project")
    (project / "requirements.txt").write_text("")
    (project / "requirements").mkdir()
    lock, base, extra = (
        project / name for name in ("requirements/demo.txt", ".venv/installed", ".venv/extra-demo")
    )
    lock.write_text("")
    base.parent.mkdir()
    base.write_text(f"{project}\n")
    extra.touch()
    assert make(project, "--question", ".venv/extra-demo").returncode == 0
    later = extra.stat().st_mtime + 1
    os.utime(lock, (later, later))
    assert make(project, "--question", ".venv/extra-demo").returncode == 1
    os.utime(extra, (later, later))
    assert make(project, "--question", ".venv/extra-demo").returncode == 0
    os.utime(base, (later + 1, later + 1))
    assert make(project, "--question", ".venv/extra-demo").returncode == 1


def copy_makefile(folder: Path) -> Path:
    (folder / "tools").mkdir(parents=True)
    for name in ("Makefile", "tools/install.py", "tools/uv.txt"):
        shutil.copy(REPOSITORY / name, folder / name)
    return folder


def make(folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess:
    words = ("make", f"PYTHON={sys.executable}", *words)
    return subprocess.run(
        words, cwd=folder, env=os.environ | variables, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("name", ["project", "my project"])
def test_an_environment_is_made_again_in_a_folder_that_was_moved(tmp_path, name):
    project = copy_makefile(tmp_path / name)
    (project / "requirements.txt").write_text("")
    (project / ".venv").mkdir()
    (project / ".venv/installed").write_text(f"{project}\n")
    assert make(project, "--question", ".venv/installed").returncode == 0
    moved = project.rename(tmp_path / f"{name} elsewhere")
    assert make(moved, "--question", ".venv/installed").returncode == 1


def test_a_set_up_that_failed_leaves_no_environment_that_looks_complete(tmp_path):
    project = copy_makefile(tmp_path / "project")
    lock_for(build_wheel(tmp_path), tmp_path).rename(project / "requirements.txt")
    http_servers.add_to_index(tmp_path / "index", "thing", build_wheel(tmp_path, marker="another"))
    with http_servers.serve(tmp_path / "index") as index:
        finished = make(project, ".venv/installed", PIP_INDEX_URL=f"{index.url}/simple")
    assert finished.returncode != 0
    assert "set-up: a package is not the file that was locked" in finished.stderr
    assert not (project / ".venv/installed").exists()
    assert make(project, "--question", ".venv/installed").returncode == 1


@pytest.mark.parametrize("version", [(3, 10, 9), (3, 14, 0)])
@pytest.mark.parametrize("environment", [".venv", ".venv-backends", ".venv-audit"])
def test_a_python_that_is_too_old_or_too_new_is_named(tmp_path, environment, version):
    project = copy_makefile(tmp_path / "project")
    shutil.copytree(REPOSITORY / "requirements", project / "requirements")
    (project / "requirements.txt").write_text("")
    other = tmp_path / "python"
    other.write_text(
        f"#!/bin/sh\nexec {sys.executable} "
        f'-c "import sys; sys.version_info = {version}; exec(sys.argv[1])" "$2"\n'
    )
    other.chmod(0o755)
    finished = make(project, f"PYTHON={other}", f"{environment}/installed")
    assert finished.returncode != 0
    assert (
        f"Python 3.11 to 3.13 is needed, this is 3.{version[1]}; name one with: make "
        "PYTHON=python3.12" in finished.stderr
    )
    assert not (project / environment).exists()


def test_a_path_with_letters_beyond_ascii_gets_dvcs_private_folder_by_a_variable(tmp_path):
    """DVC cannot write such a path into its configuration."""
    project = copy_makefile(tmp_path / "Büro 事務")
    (project / "requirements.txt").write_text("")
    (project / "tools/install.py").write_text("")
    quick = tmp_path / "python"
    quick.write_text(
        "#!/bin/sh\n"
        f'[ "$2" != venv ] || exec "{sys.executable}" -m venv --without-pip --clear "$4"\n'
        f'exec "{sys.executable}" "$@"\n'
    )
    quick.chmod(0o755)
    finished = make(project, f"PYTHON={quick}", ".venv/installed", LC_ALL="C")
    assert finished.returncode == 0, finished.stderr
    assert stat.S_IMODE((project / ".dvc/tmp/site").stat().st_mode) == 0o700
    assert variable_in(project, {}) == f"{project}/.dvc/tmp/site"
    assert variable_in(project, {"DVC_SITE_CACHE_DIR": "/own"}) == "/own"


def variable_in(project: Path, variables: dict[str, str]) -> str:
    """What DVC finds in the project's environment, from another folder."""
    code = "import os; print(os.environ['DVC_SITE_CACHE_DIR'])"
    return subprocess.run(
        [project / ".venv/bin/python", "-c", code],
        cwd="/",
        env={"PYTHONIOENCODING": "utf-8"} | variables,
        capture_output=True,
        encoding="utf-8",
        check=True,
    ).stdout.strip()
