"""CI lets no test be skipped unseen, and .ci/run goes on where it cannot install packages."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.tiny_sources import REPOSITORY

TESTS = """
import pytest

def test_that_passes():
    pass

@pytest.mark.skipif(True, reason={reason!r})
def test_that_is_skipped():
    pass
"""


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "tests/helpers").mkdir(parents=True)
    shutil.copy(REPOSITORY / "tests/helpers/skips.py", tmp_path / "tests/helpers")
    (tmp_path / "tests/helpers/allowed_skips.txt").write_text("# a comment\nno sea here\n")
    return tmp_path


@pytest.mark.parametrize(
    ("reason", "verdict", "status", "processes"),
    [
        ("no sea here", "allowed", 0, []),
        ("a comment", "NOT ALLOWED by allowed_skips.txt", 1, ["--numprocesses", "1"]),
    ],
)
def test_a_reason_that_is_not_on_the_list_fails_the_run(folder, reason, verdict, status, processes):
    (folder / "tests/test_it.py").write_text(TESTS.format(reason=reason))
    words = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "tests.helpers.skips",
        "-p",
        "no:cacheprovider",
        *processes,
    ]
    finished = subprocess.run(words, cwd=folder, capture_output=True, text=True)
    assert f"tests/test_it.py::test_that_is_skipped: {reason} ({verdict})" in finished.stdout
    assert "1 passed, 1 skipped" in finished.stdout
    assert finished.returncode == status


def programs(folder: Path, *names: str, **scripts: str) -> str:
    """A PATH with these programs of the machine's, and with those that the test gives
    as scripts."""
    folder.mkdir()
    for name in names:
        (folder / name).symlink_to(shutil.which(name))
    for name, script in scripts.items():
        path = folder / name.replace("_", "-")
        path.write_text(f"#!{shutil.which('bash')}\n{script}\n")
        path.chmod(0o755)
    return str(folder)


def run_ci(folder: Path, path: str) -> subprocess.CompletedProcess:
    (folder / ".ci").mkdir()
    shutil.copy(REPOSITORY / ".ci/run", folder / ".ci")
    words = [shutil.which("bash"), ".ci/run"]
    variables = os.environ | {"PATH": path}
    return subprocess.run(
        words, cwd=folder, env=variables, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )


MAKE = 'echo "make $@"'


def test_ci_runs_both_commands_and_says_what_it_cannot_install(tmp_path):
    path = programs(
        tmp_path / "bin", "dirname", id="echo 1000", make=MAKE, chromedriver="", sshd="", setpriv=""
    )
    finished = run_ci(tmp_path, path)
    assert finished.returncode == 0, finished.stderr
    said = finished.stdout.splitlines()
    assert said[0] == (
        "CI: not installed, and only root with apt could install it: chromium; tests that need "
        "it are skipped"
    )
    assert said[1:] == ["make run", "make test TEST_OPTIONS="]


def test_ci_installs_what_is_missing_once_and_then_allows_no_skip(tmp_path):
    apt = f'echo "apt-get $@" >> {tmp_path}/asked'
    path = programs(
        tmp_path / "bin", "dirname", id="echo 0", make=MAKE, apt_get=apt, setpriv="", sshd=""
    )
    finished = run_ci(tmp_path, path)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.splitlines() == [
        "CI: installing chromium chromium-driver",
        "make run",
        "make test TEST_OPTIONS=-p tests.helpers.skips",
    ]
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked == [
        "apt-get update -qq",
        "apt-get install -qq --yes --no-install-recommends chromium chromium-driver",
    ]


@pytest.mark.parametrize("failing", ["make", "apt_get"])
def test_ci_fails_with_the_first_command_that_fails(tmp_path, failing):
    scripts = {"id": "echo 0", "make": MAKE, "apt_get": "true"} | {failing: "exit 7"}
    finished = run_ci(tmp_path, programs(tmp_path / "bin", "dirname", **scripts))
    assert finished.returncode == 7
    assert "make test" not in finished.stdout
