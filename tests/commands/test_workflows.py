"""The workflows that users' CI runs: what their steps type exists, and their own lines are run, in
the tiny world."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.helpers.tiny_pipeline import LAST, ROOT, call, copy_world, environment
from transfer.commands.comment import about_bytes, about_files, changed_files, comment
from transfer.dataset.scored_split import OPTIMISTIC

WORKFLOWS = {
    name: yaml.safe_load((ROOT / f".github/workflows/{name}.yml").read_text(encoding="utf-8"))
    for name in ("pipeline", "gpu")
}
STEPS = {
    name: [step for job in workflow["jobs"].values() for step in job["steps"]]
    for name, workflow in WORKFLOWS.items()
}
SCRIPTS = {
    name: {step["name"]: step["run"] for step in steps if "run" in step}
    for name, steps in STEPS.items()
}
BYTES = (
    "40 of 45 outputs are the bytes of the commit (dvc.lock in HEAD); not metrics/evaluation.json: "
    "this machine computes other last bits."
)


@pytest.fixture
def programs(tmp_path) -> Path:
    """A folder for PATH with a `gh` that notes what it was given."""
    folder = tmp_path / "bin"
    folder.mkdir()
    write_program(folder / "gh", 'echo "$@" > posted')
    return folder


def write_program(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)


def run_step(
    script: str, project: Path, programs: Path, **variables: str
) -> subprocess.CompletedProcess:
    """As GitHub does on Linux with `shell: bash`."""
    variables = environment() | {"GITHUB_STEP_SUMMARY": str(project / "summary.md")} | variables
    variables["PATH"] = f"{programs}{os.pathsep}{variables['PATH']}"
    return subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", script],
        cwd=project,
        env=variables,
        capture_output=True,
        text=True,
    )


@pytest.fixture
def changed(base, tmp_path) -> Path:
    """A pull request's checkout: the world with other accuracies than its base has."""
    project = copy_world(base, tmp_path / "project")
    scores = project / "metrics/accuracy.json"
    scores.write_text(re.sub(r'"head": [0-9.]+', '"head": 0.125', scores.read_text()))
    return project


def test_the_comments_lines_compare_and_post(changed, programs):
    (changed / "logs/run.txt").write_text(f"a table\n\n{BYTES}\nThe whole run took 3 s.\n")
    for step, variables in (
        ("Compare", {"BASE": "HEAD"}),
        ("Comment", {"KEPT": "https://kept", "NUMBER": "7"}),
    ):
        finished = run_step(SCRIPTS["pipeline"][step], changed, programs, **variables)
        assert finished.returncode == 0, finished.stderr
    assert (
        changed / "posted"
    ).read_text() == "pr comment 7 --edit-last --create-if-none --body-file comment/comment.md\n"
    text = (changed / "comment/comment.md").read_text()
    assert (changed / "summary.md").read_text() == text
    assert re.search(r"metrics/accuracy.json \| head +\| [0-9.]+ +\| 0.125 ", text)
    assert (
        "- `metrics/accuracy.json`" in text and BYTES in text and text.endswith("(https://kept)\n")
    )
    page = (changed / "comment/charts/index.html").read_text()
    assert "workspace" in page and "Training and validation loss" in page


def test_where_there_is_no_pull_request_the_summary_is_all(changed, programs):
    (changed / "comment").mkdir()
    (changed / "comment/comment.md").write_text("scores\n")
    assert (
        run_step(
            SCRIPTS["pipeline"]["Comment"], changed, programs, KEPT="https://kept", NUMBER=""
        ).returncode
        == 0
    )
    assert (changed / "summary.md").read_text().startswith("scores\n")
    assert not (changed / "posted").exists()


def test_a_run_that_fails_fails_its_step(changed, programs):
    write_program(programs / "make", "echo some text; exit 3")
    assert run_step(SCRIPTS["pipeline"]["Reproduce"], changed, programs).returncode == 3
    assert (changed / "logs/run.txt").read_text() == "some text\n"
    # GitHub's default has no pipefail
    assert {workflow["defaults"]["run"]["shell"] for workflow in WORKFLOWS.values()} == {"bash"}


@pytest.mark.parametrize(
    "line", [BYTES, "All 45 outputs are the bytes of the commit (dvc.lock in HEAD)."]
)
def test_the_line_of_make_run_on_the_commits_bytes_is_quoted(line):
    assert about_bytes(f"model accuracy\n\nThe whole run took 3 s.\n{line}\n") == [
        f"On this runner: {line}",
        "",
    ]


def test_a_base_that_is_no_revision_is_an_error(changed):
    finished = call(
        "python", "-m", "transfer", "comment", "nowhere", "comment", cwd=changed, check=False
    )
    assert finished.returncode == 1
    assert (
        "unknown Git revision 'nowhere'" in finished.stderr and "Traceback" not in finished.stderr
    )


def test_changed_files_are_called_by_their_names_in_any_script(project):
    for content in ("before", "after"):
        for name in ("grün.csv", "a b.csv", "same.csv"):
            (project / name).write_text("same" if name == "same.csv" else content)
        if content == "before":
            call("git", "init", "--quiet", cwd=project)
            call("git", "add", "--all", cwd=project)
            call("git", "commit", "--quiet", "--message", "before", cwd=project)
    assert changed_files() == ["a b.csv", "grün.csv"]


def test_a_comment_on_a_run_that_changed_no_file_asks_for_no_commit():
    text = comment("| table |", about_files([]) + about_bytes("nothing of it"))
    assert "| table |" in text and "commit" not in text


def test_a_comment_on_scores_of_validation_images_says_so():
    assert "Accuracy on the test split:\n\n| table |" in comment("| table |", [])
    assert "optimistic" not in comment("| table |", [])
    text = comment("| table |", ["news"], "validation")
    assert "Accuracy on the validation split:\n\n| table |" in text
    assert OPTIMISTIC in text and text.endswith("news")


def test_actionlint_and_zizmor_find_nothing():
    """Not by shellcheck or pyflakes, which some machines have and others have not."""
    tools = Path(sys.executable).parent
    for words in (
        ("actionlint", "-shellcheck=", "-pyflakes="),
        ("zizmor", "--offline", "--no-progress", ".github"),
    ):
        if shutil.which(words[0], path=str(tools)) is None:
            pytest.skip(f"needs {words[0]}: make .venv/extra-tests")
        finished = subprocess.run(
            [tools / words[0], *words[1:]], cwd=ROOT, capture_output=True, text=True
        )
        assert finished.returncode == 0, finished.stdout + finished.stderr


def test_every_action_is_pinned_to_a_commit_and_says_its_version():
    lines = [
        line
        for path in (ROOT / ".github/workflows").iterdir()
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    uses = [line for line in lines if "uses:" in line]
    assert len(uses) == 6
    assert all(
        re.search(r"uses: actions/[a-z-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+$", line) for line in uses
    )


@pytest.mark.parametrize("name", WORKFLOWS)
def test_what_the_steps_name_is_there(name):
    lines = "\n".join(SCRIPTS[name].values())
    targets = re.findall(
        r"^(\S+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    called = [
        word
        for words in re.findall(r"^ *make ([\w./ -]+)", lines, flags=re.MULTILINE)
        for word in words.split()
    ]
    assert ".venv/extra-s3" in called
    for target in called:
        if extra := re.fullmatch(r"\.venv/extra-(\w+)", target):
            assert (ROOT / f"requirements/{extra[1]}.txt").exists(), target
        else:
            assert target in targets
    for path in re.findall(r"(?:requirements|tools)[\w/-]*\.\w+", lines + str(STEPS[name])):
        assert (ROOT / path).exists(), path


def test_the_steps_are_those_that_are_tested():
    assert [*SCRIPTS["pipeline"]] == ["Set up", "Pull", "Reproduce", "Push", "Compare", "Comment"]
    assert [*SCRIPTS["gpu"]] == ["Set up", "Pull", "Experiment", "Push", "Compare", "Comment"]


@pytest.mark.parametrize("name", WORKFLOWS)
def test_no_text_from_outside_becomes_a_part_of_a_script(name):
    assert not [step for step, script in SCRIPTS[name].items() if "${{" in script]


def test_the_gpus_workflow_is_started_by_hand_alone():
    """Its runner is a machine of somebody's, where a stranger's pull request must not run."""
    assert [*WORKFLOWS["gpu"][True]] == ["workflow_dispatch"]  # YAML 1.1 reads `on` as true
    assert WORKFLOWS["gpu"]["jobs"]["experiment"]["runs-on"] == ["self-hosted", "gpu"]


def test_what_is_typed_as_name_and_parameters_is_no_command(tmp_path, programs):
    write_program(programs / "dvc", 'printf "%s\\n" "$@"')
    typed = (
        "finetune.epochs=20  export.formats=[onnx,litert] a=$(touch,a) b=`touch,b` c=;touch * "
        "--queue"
    )
    finished = run_step(
        SCRIPTS["gpu"]["Experiment"], tmp_path, programs, NAME="$(touch c); d", PARAMETERS=typed
    )
    words = [
        "exp",
        "run",
        "--name=$(touch c); d",
        *(f"--set-param={word}" for word in typed.split()),
    ]
    assert finished.stdout.splitlines() == words
    assert [path.name for path in tmp_path.iterdir()] == ["bin"]
    assert (
        run_step(SCRIPTS["gpu"]["Experiment"], tmp_path, programs, NAME="e", PARAMETERS="").stdout
        == "exp\nrun\n--name=e\n"
    )


@pytest.mark.slow
def test_an_experiment_goes_from_a_runner_to_everyone(base, tmp_path, programs):
    """Pulled, run from the caches, pushed, commented on; and somebody else takes it over and has
    nothing left to run."""
    home = copy_world(base, tmp_path / "home")
    call("git", "clone", "--quiet", "--bare", str(home), str(tmp_path / "origin.git"), cwd=tmp_path)
    call("dvc", "remote", "add", "--default", "storage", str(tmp_path / "storage"), cwd=home)
    call("git", "commit", "--quiet", "--message", "where the data is", ".dvc/config", cwd=home)
    call("git", "remote", "add", "origin", str(tmp_path / "origin.git"), cwd=home)
    call("git", "push", "--quiet", "origin", "HEAD", cwd=home)
    call("dvc", "push", "--run-cache", cwd=home)
    runner, other = tmp_path / "runner", tmp_path / "other"
    for clone in (runner, other):
        call("git", "clone", "--quiet", str(tmp_path / "origin.git"), str(clone), cwd=tmp_path)

    output = tmp_path / "output"
    variables = {
        "NAME": "wide",
        "PARAMETERS": "train_head.units=5 train_head.dropout=0.5",
        "GITHUB_OUTPUT": str(output),
    }
    variables |= {
        "ORIGIN": str(tmp_path / "origin.git"),
        "KEPT": "https://kept",
        "GITHUB_REPOSITORY": "o/r",
        "GITHUB_SHA": "1a",
    }
    for step in ("Pull", "Experiment", "Push", "Compare", "Comment"):
        finished = run_step(
            SCRIPTS["gpu"][step], runner, programs, AWS_ACCESS_KEY_ID="known", **variables
        )
        assert finished.returncode == 0, (step, finished.stderr)
        if step == "Experiment":
            assert re.findall(r"Running stage '([\w@]+)'", finished.stdout) == [
                "train_head",
                "evaluate@head",
                *LAST,
            ]
    assert output.read_text() == "pushes=true\n"
    assert (
        runner / "posted"
    ).read_text() == "api --silent repos/o/r/commits/1a/comments --field body=@comment/comment.md\n"
    text = (runner / "comment/comment.md").read_text()
    assert "`dvc exp apply wide`" in text and "dvc repro" not in text

    call("dvc", "exp", "pull", "origin", "wide", cwd=other)
    call("dvc", "exp", "apply", "wide", cwd=other)
    assert yaml.safe_load((other / "params.yaml").read_text())["train_head"]["units"] == 5
    assert (
        call("dvc", "status", "dvc.yaml", cwd=other).stdout
        == "Data and pipelines are up to date.\n"
    )
    assert (other / "models/head/model.weights.h5").read_bytes() == (
        runner / "models/head/model.weights.h5"
    ).read_bytes()
