"""The environment is what the locks say, to the byte: everything pinned, every file hashed, and
each lock says how it is made again."""

import re
from pathlib import Path

import pytest

from tests.helpers.tiny_sources import REPOSITORY
from transfer.commands import vulnerabilities

WORKER = REPOSITORY / "requirements/worker.txt"  # by itself, not beside requirements.txt
OTHERS = [
    WORKER,
    *(REPOSITORY / f"requirements/{name}.txt" for name in ("lint", "tests", "vulnerabilities")),
]
UNHASHED = REPOSITORY / "requirements/backends.txt"
EXTRAS = sorted({*(REPOSITORY / "requirements").glob("*.txt")} - {UNHASHED})
LOCKS = [REPOSITORY / "requirements.txt", *EXTRAS, REPOSITORY / "tools/uv.txt"]
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
    lines = requirements((REPOSITORY / "requirements/gpu.txt").read_text(encoding="utf-8"))
    assert all(
        "sys_platform == 'linux'" in line and "platform_machine == 'x86_64'" in line
        for line in lines
    )


def test_every_lock_is_audited():
    """But those of the tests and of the auditor itself, which nobody installs to use the project,
    and a worker's, which has nothing that the others have not."""
    assert {REPOSITORY / lock for lock in vulnerabilities.LOCKS} == {*LOCKS} - {*OTHERS}


def test_an_extra_holds_nothing_of_the_base_and_no_two_extras_disagree():
    """They are installed one after another into one environment."""
    # that of the auditor is for an environment of its own
    beside = [lock for lock in EXTRAS if lock != WORKER and lock.name != "vulnerabilities.txt"]
    base = pinned(REPOSITORY / "requirements.txt")
    found = {}
    for lock in beside:
        assert not pinned(lock).keys() & base.keys(), lock
        for name, pins in pinned(lock).items():
            # Python in a browser, where nothing of this project runs
            versions = [pin.removesuffix(" ; sys_platform != 'emscripten'") for pin in pins]
            assert found.setdefault(name, versions) == versions, (lock, name)


def test_a_worker_has_the_versions_of_the_machine_that_it_works_for_and_no_tensorflow():
    here = {}
    for lock in ("requirements.txt", "requirements/ray.txt", "requirements/s3.txt"):
        here |= pinned(REPOSITORY / lock)
    worker = pinned(WORKER)
    for name, pins in worker.items():  # a marker may differ: tqdm wants colorama on Windows only
        assert {pin.split(" ;")[0] for pin in pins} == {pin.split(" ;")[0] for pin in here[name]}
    assert not worker.keys() & {"tensorflow", "keras", "pandas", "dvc"}


def test_each_extra_has_its_source_and_make_lock_makes_each():
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    named = re.search(r"^EXTRAS := (.+)$", makefile, re.MULTILINE)[1].split()
    assert named == sorted(
        lock.stem for lock in EXTRAS if lock.stem not in ("tests", "vulnerabilities", "worker")
    )
    sources = {path.stem for path in (REPOSITORY / "requirements").glob("*.in")}
    assert sources == {lock.stem for lock in EXTRAS} | {"base"}


def pinned(lock: Path) -> dict[str, list[str]]:
    """The pins of each package, with their markers."""
    found = {}
    for line in requirements(lock.read_text(encoding="utf-8")):
        pin = line.split(" --hash")[0]
        found.setdefault(re.split(r"[=\[]", pin)[0], []).append(pin)
    return found
