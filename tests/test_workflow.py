"""The workflow that users' CI runs: what its steps type exists, and its comment is made by its own lines, in the tiny world."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from pipeline import ROOT, call, environment

from transfer.comment import comment

STEPS = yaml.safe_load((ROOT / ".github/workflows/pipeline.yml").read_text(encoding="utf-8"))["jobs"]["reproduce"]["steps"]
SCRIPTS = {step["name"]: step["run"] for step in STEPS if "run" in step}
# What setup-cml installs: one makes a picture of a chart, the other posts a file. Both note what they were given.
PROGRAMS = {"vl2png": 'python -m json.tool "$1" > /dev/null && echo picture > "$2"', "cml": 'echo "$@" > posted'}


@pytest.fixture
def changed(base, tmp_path) -> Path:
    """A pull request's checkout: the world with other accuracies than its base has, and programs in the place of CML's."""
    project = Path(shutil.copytree(base, tmp_path / "project", symlinks=True))
    scores = project / "metrics/accuracy.json"
    scores.write_text(re.sub(r'"head": [0-9.]+', '"head": 0.125', scores.read_text()))
    (tmp_path / "bin").mkdir()
    for name, line in PROGRAMS.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    return project


def test_the_comments_lines_compare_draw_and_post(changed, tmp_path):
    variables = environment() | {"BASE": "HEAD"}
    variables["PATH"] = f"{tmp_path / 'bin'}{os.pathsep}{variables['PATH']}"
    finished = subprocess.run(["bash", "-e", "-c", SCRIPTS["Comment"]], cwd=changed, env=variables, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    assert (changed / "posted").read_text() == "comment update comment/comment.md\n"
    text = (changed / "comment/comment.md").read_text()
    assert re.search(r"metrics/accuracy.json \| head +\| [0-9.]+ +\| 0.125 ", text)
    assert "- `metrics/accuracy.json`" in text
    pictures = re.findall(r"!\[.+\]\((.+\.png)\)", text)
    assert len(pictures) == len([*(changed / "comment").glob("*.vl.json")]) + 2
    assert all((changed / "comment" / name).exists() for name in pictures)


def test_a_base_that_is_no_revision_is_said_so(changed):
    finished = call("python", "-m", "transfer.comment", "nowhere", "comment", cwd=changed, check=False)
    assert finished.returncode == 1
    assert "unknown Git revision 'nowhere'" in finished.stderr and "Traceback" not in finished.stderr


def test_a_comment_on_a_run_that_changed_no_file_asks_for_no_commit():
    text = comment("| table |", ["Loss"], [])
    assert "| table |" in text and "![Loss](Loss.png)" in text and "commit" not in text


def test_what_the_steps_name_is_there():
    text = "\n".join(SCRIPTS.values()) + str(STEPS)
    targets = re.findall(r"^(\S+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    for target in re.findall(r"\bmake (\S+)", "\n".join(SCRIPTS.values())):
        assert target.replace(".venv", "$(VENV)") in targets
    for path in re.findall(r"(?:remotes|requirements|plots/report|models/MODEL_CARD)[\w/]*\.\w+", text):
        if not path.startswith(("plots/", "models/")):
            assert (ROOT / path).exists(), path
    assert set(SCRIPTS) == {"Set up", "Pull", "Reproduce", "Push", "Comment"}
