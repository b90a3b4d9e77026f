"""The lines of README.md and docs/experiments.md for experiments, as a person types them: run, and
compared with what they promise."""

import json
import re
import shlex
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import yaml

from tests.helpers.tiny_pipeline import (
    ALL_OF_IMAGES,
    CHANGES,
    LAST,
    ROOT,
    call,
    copy_world,
    files_in,
)

README = (
    (ROOT / "README.md")
    .read_text(encoding="utf-8")
    .split("\n## Compare experiments\n")[1]
    .split("\n## ")[0]
)
RECIPES = (ROOT / "docs/experiments.md").read_text(encoding="utf-8").split("\n## A sweep")[0]
# of this world's source, at most twice: its path has no slash, as one of a user's has
SOURCE_COLUMN = 40


def commands(text: str) -> list[str]:
    """The lines of the code blocks, without their comments."""
    return [
        shlex.join(words)
        for line in re.findall(r"^    (.+)$", text, re.MULTILINE)
        if (words := shlex.split(line, comments=True))
    ]


def line_of(text: str, start: str) -> list[str]:
    """The words of the one line that starts so."""
    (line,) = [line for line in commands(text) if line.startswith(start)]
    return shlex.split(line)


def stages_run(said: str) -> list[str]:
    return re.findall(r"Running stage '([\w@]+)'", said)


def params(project: Path) -> dict:
    return yaml.safe_load((project / "params.yaml").read_text())


@pytest.fixture(scope="module")
def project(base, tmp_path_factory) -> Path:
    """The world with an experiment named `wide` beside it."""
    project = copy_world(base, tmp_path_factory.mktemp("experiments") / "project")
    said = call(*line_of(README, "dvc exp run"), cwd=project).stdout
    assert stages_run(said) == ["train_head", "evaluate@head", *LAST]
    assert call("git", "status", "--short", cwd=project).stdout == ""
    return project


def test_the_table_of_experiments_fits_a_terminal(project):
    table = call(*line_of(README, "dvc exp show"), cwd=project).stdout
    assert "[wide]" in table
    assert "train_head.units" in table
    assert max(map(len, table.splitlines())) <= 120 + 2 * SOURCE_COLUMN


def test_all_scores_of_the_models_are_compared(project):
    line = line_of(README, "dvc metrics diff")
    compared = json.loads(call(*line, "--all", "--json", cwd=project).stdout)
    scores = compared["metrics/evaluation.json"]["head.log_loss"]
    assert set(scores) == {"old", "new", "diff"}
    told = call(*line, cwd=project).stdout
    pattern = rf"head\.log_loss +{scores['old']:.5g} +{scores['new']:.5g} "
    assert re.search(pattern, told), told


def test_plots_of_both_are_drawn(project, monkeypatch):
    # the program of that name, which does nothing with the page
    monkeypatch.setenv("BROWSER", "true")
    line = line_of(README, "dvc plots diff")
    shown = json.loads(
        call(*(word for word in line if word != "--open"), "--json", cwd=project).stdout
    )
    assert not shown.get("errors")
    for title, plots in shown["data"].items():
        assert {revision for plot in plots for revision in plot["revisions"]} == {"HEAD", "wide"}, (
            title
        )


def test_an_experiment_is_taken_over(project, tmp_path):
    """Only what it changed is other than before, and nothing is left to be run."""
    taken = copy_world(project, tmp_path / "project")
    call(*line_of(README, "dvc exp apply"), cwd=taken)
    expected = params(project)
    expected["train_head"] |= {"units": 512, "dropout": 0.5}
    assert params(taken) == expected
    other = {
        f"{folder}/{name}"
        for folder in ("models", "data/evaluation")
        for name in files_in(taken / folder)
        if (taken / folder / name).read_bytes() != (project / folder / name).read_bytes()
    }
    assert {name.split("/head/")[0] for name in other} == {"models", "data/evaluation"}
    assert {
        "models/head/model.json",
        "models/head/model.weights.h5",
        "models/head/history.csv",
    } < other
    assert (
        call("dvc", "status", "dvc.yaml", cwd=taken).stdout
        == "Data and pipelines are up to date.\n"
    )


class Session:
    """A person at docs/experiments.md, in a world of their own: each line is run and then looked at
    by the method of its first words."""

    GRID = {
        f"grid-{i}": values
        for i, values in enumerate([(64, 1e-4), (64, 3e-4), (256, 1e-4), (256, 3e-4)], start=1)
    }

    def __init__(self, project: Path):
        self.project, self.committed = project, params(project)

    def run(self, line: str) -> None:
        finished = call(*shlex.split(line), cwd=self.project)
        check = getattr(self, "_".join(word for word in shlex.split(line)[:3] if word.isalpha()))
        check(finished.stdout, line)

    def call(self, *words: str) -> str:
        return call(*words, cwd=self.project).stdout

    def experiments(self) -> set[str]:
        return {*re.findall(r"\[([\w-]+)\]", self.call("dvc", "exp", "list"))}

    def file(self, revision: str, path: str) -> str:
        """A file of a commit, a branch or an experiment, whose name git knows only in full."""
        refs = dict(
            line.rsplit("/", 1)[::-1]
            for line in self.call(
                "git", "for-each-ref", "--format=%(refname)", "refs/exps"
            ).splitlines()
        )
        return self.call(
            "git",
            "show",
            f"{refs[revision]}/{revision}:{path}" if revision in refs else f"{revision}:{path}",
        )

    def params_of(self, revision: str) -> dict:
        return yaml.safe_load(self.file(revision, "params.yaml"))

    def dvc_exp_run(self, said: str, line: str) -> None:
        if "--queue" in line:
            assert re.findall(r"Queued experiment '([\w-]+)'", said) == [*self.GRID]
            return
        assert stages_run(said) == ["train_head", "evaluate@head", *LAST]
        assert self.experiments() == {"wide"}
        assert self.call("git", "status", "--short") == ""

    def dvc_queue_start(self, said: str, line: str) -> None:
        """All of the grid, and each with the models that its parameters make."""
        wait_for_queue(self.project)
        assert self.experiments() == {"wide", *self.GRID}
        models = set()
        for name, (units, rate) in self.GRID.items():
            ran = stages_run(self.call("dvc", "queue", "logs", name))
            assert ran == ["train_head", "evaluate@head", *LAST]
            expected = {
                **self.committed,
                "train_head": self.committed["train_head"]
                | {"units": units, "learning_rate": rate},
            }
            assert self.params_of(name) == expected
            lock = yaml.safe_load(self.file(name, "dvc.lock"))["stages"]
            models |= {
                out["md5"] for out in lock["train_head"]["outs"] if out["path"] == "models/head"
            }
        assert len(models) == len(self.GRID)

    def dvc_queue_status(self, said: str, line: str) -> None:
        assert re.findall(r"(grid-\d) .* Success", said) == [*self.GRID]

    def dvc_queue_logs(self, said: str, line: str) -> None:
        assert "Stage 'extract' didn't change, skipping" in said

    def dvc_exp_show(self, said: str, line: str) -> None:
        assert max(map(len, said.splitlines())) <= 120 + 2 * SOURCE_COLUMN
        titles, *rows = [
            row.split(",") for row in self.call(*shlex.split(line), "--csv").splitlines()
        ]
        rows = [dict(zip(titles, row, strict=True)) for row in rows]
        accuracies = [float(row["head"]) for row in rows if row["typ"] != "baseline"]
        assert len(accuracies) == 5
        assert accuracies == sorted(accuracies, reverse=True)

    def dvc_params_diff(self, said: str, line: str) -> None:
        old, new = shlex.split(line)[-2:]
        for name, key in enumerate(("units", "learning_rate")):
            values = [
                self.GRID[side][name]
                if side in self.GRID
                else self.params_of(side)["train_head"][key]
                for side in (old, new)
            ]
            assert re.search(rf"train_head\.{key} +{values[0]:g} +{values[1]:g}\n", said), said

    def dvc_metrics_diff(self, said: str, line: str) -> None:
        """Both sides' values, as their own commits have them."""
        old, new = shlex.split(line)[3:5]
        sides = [json.loads(self.file(side, "metrics/evaluation.json")) for side in (old, new)]
        pattern = r"head\.log_loss +{:.5g} +{:.5g} +"
        losses = (side["head"]["log_loss"] for side in sides)
        assert re.search(pattern.format(*losses), said), said

    def dvc_plots_diff(self, said: str, line: str) -> None:
        page = (self.project / "dvc_plots/index.html").read_text()
        assert said == f"file://{self.project / 'dvc_plots/index.html'}\n"
        for revision in shlex.split(line)[-2:]:
            assert f'"rev": "{revision}"' in page
        assert "dvc_plots" not in self.call("git", "status", "--short")

    def dvc_exp_branch(self, said: str, line: str) -> None:
        assert self.params_of("wider-head")["train_head"]["units"] == 512
        assert self.call("git", "status", "--short") == ""

    def dvc_exp_apply(self, said: str, line: str) -> None:
        assert params(self.project) == self.params_of("grid-4")
        assert self.call("dvc", "status", "dvc.yaml") == "Data and pipelines are up to date.\n"

    def dvc_exp_save(self, said: str, line: str) -> None:
        assert self.file("by-hand", "dvc.lock") == self.file("HEAD", "dvc.lock")

    def git_commit(self, said: str, line: str) -> None:
        assert self.call("git", "status", "--short") == ""
        assert self.file("HEAD", "dvc.lock") == self.file("grid-4", "dvc.lock")

    def dvc_exp_remove(self, said: str, line: str) -> None:
        left = {"grid-2", "grid-3", "grid-4", "by-hand"} if "wide" in line else {"by-hand"}
        assert {
            *re.findall(r"\[([\w-]+)\]", self.call("dvc", "exp", "list", "--all-commits"))
        } == left

    def dvc_queue_remove(self, said: str, line: str) -> None:
        assert "No experiment tasks in the queue" in self.call("dvc", "queue", "status")


def wait_for_queue(project: Path) -> int:
    """Wait until all experiments are done; the most stages that were seen running at once."""
    deadline, most = time.monotonic() + 500, 0
    while any(
        state in (status := call("dvc", "queue", "status", cwd=project).stdout)
        for state in ("Queued", "Running")
    ):
        assert time.monotonic() < deadline, status
        for _ in range(20):
            most = max(most, stages_running(project))
            time.sleep(0.1)
    return most


def stages_running(project: Path) -> int:
    """Processes of stages whose working directory lies in the project."""
    found = 0
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            words = process.cmdline()
            is_stage = len(words) > 2 and words[1] == "-m" and words[2].startswith("stages.")
            found += is_stage and Path(process.cwd()).is_relative_to(project)
    return found


@pytest.mark.slow
def test_the_recipes_do_what_they_say(base, tmp_path):
    session = Session(copy_world(base, tmp_path / "project"))
    for line in commands(RECIPES):
        session.run(line)


# by DVC's run cache, whoever made it: most of their results are in git
NOT_GIVEN_BACK = ["report"]
TWO = {  # what each changes, and what that runs
    "views": ("augment.seed=1", CHANGES["augment.rotation"][1]),
    "split": ("split.seed=1", ALL_OF_IMAGES),
}


def run_two(project: Path, jobs: int) -> tuple[dict[str, str], int]:
    """What each prints, and the most stages that ran at once."""
    for name, (change, _) in TWO.items():
        call("dvc", "exp", "run", "--queue", "--name", name, "-S", change, cwd=project)
    try:
        call("dvc", "queue", "start", "--jobs", str(jobs), cwd=project)
        most = wait_for_queue(project)
    finally:
        call("dvc", "queue", "stop", "--kill", cwd=project, check=False)
    return {name: call("dvc", "queue", "logs", name, cwd=project).stdout for name in TWO}, most


@pytest.mark.slow
def test_two_at_once_are_two_one_after_the_other(base, tmp_path):
    """The same files to the byte, from the caches, while both write
    rows, checkpoints and DVC's cache."""
    projects = {jobs: copy_world(base, tmp_path / str(jobs) / "project") for jobs in (1, 2)}
    ran = {jobs: run_two(project, jobs) for jobs, project in projects.items()}
    assert {jobs: most for jobs, (_, most) in ran.items()} == {1: 1, 2: 2}
    said = {jobs: printed for jobs, (printed, _) in ran.items()}
    for name, (change, stages) in TWO.items():
        locks = [Session(project).file(name, "dvc.lock") for project in projects.values()]
        assert locks[0] == locks[1]
        for jobs, project in projects.items():
            assert stages_run(said[jobs][name]) == stages
            assert (
                call("dvc", "status", "dvc.yaml", cwd=project).stdout
                == "Data and pipelines are up to date.\n"
            )
            assert not [*(project / ".checkpoints").glob("*/*")]
        again = call(
            "dvc", "exp", "run", "--temp", "--name", f"{name}-again", "-S", change, cwd=projects[2]
        ).stdout
        assert stages_run(again) == NOT_GIVEN_BACK
    for jobs in projects:
        known = re.findall(
            r"data/features/\w+/features: (\d+) rows were known \(.rows\), (\d+) were computed",
            said[jobs]["split"],
        )
        assert sum(int(n) for n, _ in known) == 24
        assert not sum(int(n) for _, n in known)


@pytest.mark.slow
def test_what_the_docs_say_the_queue_gets_wrong(base, tmp_path):
    """When one of these fails, DVC has been fixed,
    and docs/experiments.md and this test can be shorter."""
    project = copy_world(base, tmp_path / "project")
    for name, units in (("bad", 0), ("good", 3)):
        call(
            "dvc",
            "exp",
            "run",
            "--queue",
            "--name",
            name,
            "-S",
            f"train_head.units={units}",
            cwd=project,
        )
    ran = call("dvc", "exp", "run", "--run-all", cwd=project)
    assert ran.returncode == 0
    assert "Failed to reproduce experiment(s) 'bad'" in ran.stderr
    assert (
        "train_head.units = 0: Input should be greater than 0"
        in call("dvc", "queue", "logs", "bad", cwd=project).stdout
    )
    (project / "params.yaml").write_text(
        (project / "params.yaml").read_text().replace("folds: 10", "folds: 4")
    )
    call("dvc", "exp", "run", "--queue", "--name", "later", "-S", "train_head.units=3", cwd=project)
    queued = json.loads(call("dvc", "exp", "show", "--json", cwd=project).stdout)
    assert '"folds": 4' in json.dumps(
        [one for one in find(queued, "experiments") if "later" in json.dumps(one)]
    )


def find(content: object, key: str) -> Iterator[object]:
    """All values of a key, however deep."""
    for inner, value in (
        content.items()
        if isinstance(content, dict)
        else enumerate(content)
        if isinstance(content, list)
        else ()
    ):
        yield from ([value] if inner == key else [])
        yield from find(value, key)
