"""The Dockerfile, as far as it can be held to something where no image can be built."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands.test_locks import LOCKS
from tests.helpers.tiny_sources import REPOSITORY

TEXT = (REPOSITORY / "Dockerfile").read_text(encoding="utf-8")
INSTRUCTIONS = [
    line.split(maxsplit=1)
    for line in re.sub(r" *\\\n\s*", " ", TEXT).splitlines()
    if line and not line.startswith("#")
]


def arguments(instruction: str) -> list[str]:
    return [rest for name, rest in INSTRUCTIONS if name == instruction]


def copied() -> list[str]:
    return [source for line in arguments("COPY") for source in line.split()[:-1]]


def test_the_linter_finds_nothing():
    """Of what it passes over, the file says why."""
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which(
        "hadolint"
    )
    if hadolint is None:
        pytest.skip("needs hadolint: make .venv/extra-tests")
    finished = subprocess.run(
        [hadolint, "--no-color", "Dockerfile"], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert (finished.returncode, finished.stdout) == (0, "")


def test_it_starts_from_a_python_that_the_locks_are_for():
    (base,) = arguments("FROM")
    assert re.fullmatch(r"python:3\.1[1-3]-slim-\w+(@sha256:[0-9a-f]{64})?", base)


def test_it_ends_as_somebody_who_is_not_root():
    assert arguments("USER") == ["$UID"]
    (default,) = arguments("ARG")
    assert int(default.removeprefix("UID=")) >= 1000
    assert [name for name, _ in INSTRUCTIONS][-3:] == ["USER", "WORKDIR", "CMD"]


def test_nothing_but_what_is_copied_reaches_the_builder():
    """No data, and no .dvc/config.local, in which secrets are."""
    lines = (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    assert rules[1:] == sorted(f"!{path}" for path in copied())
    tracked = subprocess.run(
        ["git", "ls-files", "--", *copied()],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert {*tracked.splitlines()} == {*copied()}


def test_everything_is_installed_from_locks_and_by_hash():
    """Make's rules install with tools/install.py (tests/commands/test_makefile.py)."""
    runs = arguments("RUN")
    assert not [line for line in runs if "pip install" in line or "install.py" in line]
    made = [word for line in runs if line.startswith("make ") for word in line.split()[1:]]
    assert made[0] == ".venv/installed"  # from requirements.txt
    extras = {f"requirements/{word.removeprefix('.venv/extra-')}.txt" for word in made[1:]}
    locks = {path for path in copied() if REPOSITORY / path in LOCKS}
    assert locks == extras | {"requirements.txt", "tools/uv.txt"}
    assert "requirements/gpu.txt" in locks
