"""`make verify` in a world of one stage under real DVC: what it notices, and that the commands it
prints repair that."""

import json
import os
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from dvc import cli

from tests.helpers.tiny_pipeline import call
from transfer.commands import verify
from transfer.runtime.errors import PipelineError

STAGE = """
from pathlib import Path
Path("one file.bin").write_bytes(b"one" * 1000)
Path("many").mkdir()
for name in "abc":
    Path("many", name).write_text(name * 500)
Path("score.json").write_text("{}")
"""
# of DVC's own libraries, as it runs in this process
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
PIPELINE = """
stages:
  make:
    cmd: python make.py
    deps: [make.py, images]
    outs: [one file.bin, many]
    metrics:
      - score.json: {cache: false}
"""


def flip(path: Path) -> None:
    """Flip a bit in the middle of a file, and put its time back:
    DVC goes by that, and by size and inode."""
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    path.chmod(before.st_mode & 0o777)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def objects(*names: str) -> list[Path]:
    """The cache objects of workspace files; `listing` is that of the folder."""
    found = {
        path.read_bytes(): path for path in Path(".dvc/cache/files").rglob("*") if path.is_file()
    }
    listing = next(path for path in found.values() if path.suffix == ".dir")
    return [listing if name == "listing" else found[Path(name).read_bytes()] for name in names]


def damage(
    *names: str, workspace: bool = False, cache: bool = False, by: Callable[[Path], None] = flip
) -> None:
    for path in (objects(*names) if cache else []) + (
        [Path(name) for name in names if name != "listing"] if workspace else []
    ):
        by(path)


ONE, MEMBER = "one file.bin", "many/b"
DAMAGES = {  # how it is done, what verify names, and whether both copies of something are lost
    "a file": (lambda: damage(ONE, MEMBER, workspace=True), {ONE, MEMBER}, False),
    "a file gone": (
        lambda: damage(ONE, MEMBER, workspace=True, by=Path.unlink),
        {ONE, MEMBER},
        False,
    ),
    "a file too many": (lambda: Path("many/d").touch(), {"many/d"}, False),
    "a folder gone": (lambda: shutil.rmtree("many"), {"many/a", "many/b", "many/c"}, False),
    "a file outside of the cache": (
        lambda: damage("score.json", workspace=True),
        {"score.json"},
        False,
    ),
    "its copy for the run-cache too": (
        lambda: damage("score.json", workspace=True, cache=True),
        {"score.json"},
        False,
    ),
    "a cache object": (lambda: damage(ONE, MEMBER, cache=True), {ONE, MEMBER}, False),
    "a cache object gone": (
        lambda: damage(ONE, MEMBER, cache=True, by=Path.unlink),
        {ONE, MEMBER},
        False,
    ),
    "a listing": (lambda: damage("listing", cache=True), {"many"}, False),
    "a file and the cache object of another": (
        lambda: damage(ONE, cache=True) or damage(MEMBER, workspace=True),
        {ONE, MEMBER},
        False,
    ),
    "both copies": (lambda: damage(ONE, MEMBER, workspace=True, cache=True), {ONE, MEMBER}, True),
    "a listing and a file on it": (
        lambda: damage("listing", cache=True) or damage(MEMBER, workspace=True),
        {"many"},
        True,
    ),
    "the whole cache": (
        lambda: shutil.rmtree(".dvc/cache") or flip(Path(ONE)),
        {ONE, "many", "many/a", "many/b", "many/c"},
        True,
    ),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A world whose stage has run, committed and pushed to a folder beside it."""
    world = tmp_path_factory.mktemp("verify") / "world"
    (world / "images").mkdir(parents=True)
    (world / "images/0.png").write_bytes(b"an image")
    (world / "make.py").write_text(STAGE)
    (world / "dvc.yaml").write_text(PIPELINE)
    for line in (
        "git init --quiet",
        "dvc init --quiet",
        "dvc repro",
        "git add --all",
        "git commit --quiet --message made",
    ):
        call(*line.split(), cwd=world)
    call("dvc", "remote", "add", "--local", "--default", "storage", "../storage", cwd=world)
    call("dvc", "push", cwd=world)
    return world


@pytest.fixture
def world(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it that DVC has looked at, so that it believes the times of files,
    as the working directory."""
    world = Path(shutil.copytree(made.parent, tmp_path / "copy", symlinks=True)) / "world"
    monkeypatch.chdir(world)
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    dvc("status")
    return world


def dvc(*words: str) -> None:
    """DVC's command line in this process, which saves the second that each start of it takes."""
    assert cli.main([*words, "--quiet"]) == 0


class Said(str):
    """What verify printed: lines of problems, and the commands between them."""

    @property
    def problems(self) -> list[str]:
        return [
            line
            for line in self.split("\n\n")[0].splitlines()
            if ": " in line and not line.startswith("verify:")
        ]

    @property
    def commands(self) -> list[list[str]]:
        words = (
            shlex.split(line, comments=True)
            for line in self.splitlines()
            if line.startswith("    ")
        )
        return [line for line in words if line]


def run_verify(capsys: pytest.CaptureFixture[str], status: int) -> Said:
    capsys.readouterr()
    code = verify.main([])
    text = capsys.readouterr().out
    assert code == status, text
    return Said(text)


def test_an_undamaged_world_has_no_findings(world, capsys):
    said = run_verify(capsys, status=0)
    assert said == "verify: 13 files, 0.0 MB read; no problems\n"


@pytest.mark.parametrize(
    ("name", "has_remote"),
    [(name, True) for name in DAMAGES]
    + [(name, False) for name, (_, _, lost) in DAMAGES.items() if lost],
)
def test_damage_is_named_and_the_printed_commands_repair_it(world, capsys, name, has_remote):
    harm, named, lost = DAMAGES[name]
    if not has_remote:
        dvc("remote", "remove", "--local", "storage")
    harm()
    said = run_verify(capsys, status=1)
    assert {line.split(":")[0] for line in said.problems} == named
    assert any("pull" in command for command in said.commands) == (lost and has_remote)
    for command, *words in said.commands:
        dvc(*words) if command == "dvc" else call(command, *words, cwd=world)
    run_verify(capsys, status=0)
    assert call("git", "status", "--porcelain", cwd=world).stdout == ""


def test_what_only_an_export_that_is_not_here_was_made_from_may_have_changed(world, capsys):
    Path("deploy").mkdir()
    stage = {"cmd": "make", "deps": ["make.py"], "outs": ["deploy/export"]}
    made = {
        "cmd": "make",
        "deps": [{"path": "make.py", "hash": "md5", "md5": "0" * 32, "size": 1}],
        "outs": [{"path": "deploy/export", "hash": "md5", "md5": "1" * 32, "size": 1}],
    }
    Path("deploy/dvc.yaml").write_text(json.dumps({"stages": {"export": stage | {"wdir": ".."}}}))
    Path("deploy/dvc.lock").write_text(json.dumps({"schema": "2.0", "stages": {"export": made}}))
    run_verify(capsys, status=0)
    Path("deploy/export").write_text("here")
    assert run_verify(capsys, status=1).problems[0].startswith("deploy/export: damaged")


def test_what_dvc_add_tracks_in_a_folder_is_named_by_its_path_in_the_project(world, capsys):
    """As `make release` does."""
    shutil.copytree("many", "deploy/classifier")
    dvc("add", "deploy/classifier")
    try:
        run_verify(capsys, status=0)
        flip(Path("deploy/classifier/a"))
        said = run_verify(capsys, status=1)
        assert said.problems == ["deploy/classifier/a: damaged in the workspace"]
        for command, *words in said.commands:
            dvc(*words) if command == "dvc" else call(command, *words, cwd=world)
        run_verify(capsys, status=0)
    finally:
        shutil.rmtree("deploy")


@pytest.mark.parametrize("cache", [False, True], ids=["workspace", "cache"])
def test_dvc_alone_does_not_notice_a_flipped_bit(world, capsys, cache):
    damage(ONE, workspace=not cache, cache=cache)
    assert "up to date" in call("dvc", "status", cwd=world).stdout
    assert "didn't change" in call("dvc", "repro", cwd=world).stdout
    dvc("checkout", "--force")
    place = (
        "cache (.dvc/cache/files/md5/7a/3ec6d2e1164c1e4936e41004c5b9e9)" if cache else "workspace"
    )
    assert run_verify(capsys, status=1).problems == [f"{ONE}: damaged in the {place}"]


def test_a_changed_input_is_named_with_both_ways_out(world, capsys):
    flip(Path("images/0.png"))
    said = run_verify(capsys, status=1)
    assert said.problems == ["images: changed in the workspace"]
    assert "If that is meant: dvc repro. If not, get them back: git checkout -- images" in said
    call("git", "checkout", "--", "images", cwd=world)
    run_verify(capsys, status=0)


@pytest.mark.parametrize("has_remote", [True, False])
def test_outputs_of_other_inputs_are_not_recorded_as_those_of_the_new(world, capsys, has_remote):
    if not has_remote:
        dvc("remote", "remove", "--local", "storage")
    damage(ONE, cache=True)
    Path("images/1.png").write_bytes(b"another")
    said = run_verify(capsys, status=1)
    assert [words[1] for words in said.commands[1:]] == (["pull"] if has_remote else ["repro"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            None,
            r"dvc.lock: nothing about one file.bin, which stage make makes; run it with: dvc repro "
            r"make",
        ),
        (b"stages: [", r"dvc.lock'.*; repair it: python -m transfer repair"),
        (b"\xff\x00", r"dvc.lock'.*; repair it: python -m transfer repair"),
        (b"schema: '2.0'\nstages: 3\n", r"dvc.lock'.*; repair it: python -m transfer repair"),
    ],
    ids=["gone", "cut off", "not text", "not a lock"],
)
def test_a_lock_that_cannot_be_used_is_an_error_for_people(world, content, message):
    Path("dvc.lock").unlink()
    if content is not None:
        Path("dvc.lock").write_bytes(content)
    with pytest.raises(PipelineError, match=message):
        verify.main([])


def test_a_folder_without_dvc_is_an_error_for_people(project):
    with pytest.raises(PipelineError, match="you are not inside of a DVC repository"):
        verify.main([])
