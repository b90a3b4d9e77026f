"""The environment is what the locks say, to the byte: everything pinned, every file hashed, and
each lock says how it is made again."""

import re

import pytest

from tests.helpers.tiny_sources import REPOSITORY
from transfer.commands import vulnerabilities

OTHERS = [REPOSITORY / "tests" / name for name in ("requirements.txt", "audit.txt")]
LOCKS = [
    *REPOSITORY.glob("requirements*.txt"),
    *(REPOSITORY / "remotes").glob("*.txt"),
    REPOSITORY / "tools/uv.txt",
    *OTHERS,
]
PIN = re.compile(
    r"[A-Za-z0-9._-]+(\[[a-z0-9,_-]+\])?==[^\s;]+( ; .+)?( --hash=sha256:[0-9a-f]{64})+"
)


def requirements(text: str) -> list[str]:
    joined = re.sub(r" *\\\n\s*", " ", text)
    return [line for line in joined.splitlines() if line and not line.startswith("#")]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.relative_to(REPOSITORY).as_posix())
def test_everything_is_pinned_and_hashed(lock):
    text = lock.read_text(encoding="utf-8")
    assert "make lock" in text.splitlines()[1]
    assert requirements(text)
    assert [line for line in requirements(text) if not PIN.fullmatch(line)] == []


def test_what_is_locked_for_a_gpu_leaves_other_machines_alone():
    """TensorFlow has CUDA in its wheel for Linux on x86-64 only."""
    lines = requirements((REPOSITORY / "requirements-gpu.txt").read_text(encoding="utf-8"))
    assert all(
        "sys_platform == 'linux'" in line and "platform_machine == 'x86_64'" in line
        for line in lines
    )
    assert not pinned("requirements-gpu.txt") & pinned("requirements.txt")


def test_every_lock_is_audited():
    """But those of the tests and of the auditor itself,
    which nobody installs to use the project."""
    assert {REPOSITORY / lock for lock in vulnerabilities.LOCKS} == {*LOCKS} - {*OTHERS}


def pinned(lock: str) -> set[str]:
    return {
        re.split(r"[=\[]", line)[0]
        for line in requirements((REPOSITORY / lock).read_text(encoding="utf-8"))
    }
