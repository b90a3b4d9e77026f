"""The README's lines for comparing experiments, as a person types them."""

import json
import shutil
from pathlib import Path

import pytest
from pipeline import call


@pytest.fixture(scope="module")
def project(base, tmp_path_factory) -> Path:
    """The world with an experiment named `wide` beside it."""
    project = Path(shutil.copytree(base, tmp_path_factory.mktemp("experiments") / "project", symlinks=True))
    said = call("dvc", "exp", "run", "--temp", "--name", "wide", "-S", "train_head.units=5", "-S", "train_head.dropout=0.5", cwd=project)
    assert [stage for stage in ("train_head", "evaluate", "report") if f"Running stage '{stage}'" in said.stdout] == [
        "train_head",
        "evaluate",
        "report",
    ]
    return project


def test_the_table_of_experiments_fits_a_terminal(project):
    table = call("dvc", "exp", "show", "--only-changed", "--drop", ".*/.*", cwd=project).stdout
    source = 36  # columns for the MD5 of this world's source: its path has no slash, as one of a user's has
    assert "[wide]" in table
    assert "train_head.units" in table
    assert max(map(len, table.splitlines())) <= 120 + source


def test_all_scores_of_a_model_are_compared(project):
    words = ("dvc", "metrics", "diff", "HEAD", "wide", "--all", "--json", "--targets", "metrics/head.json")
    scores = json.loads(call(*words, cwd=project).stdout)["metrics/head.json"]
    assert set(scores["log_loss"]) == {"old", "new", "diff"}


def test_plots_of_both_are_drawn(project):
    shown = json.loads(call("dvc", "plots", "diff", "--json", "HEAD", "wide", cwd=project).stdout)
    assert not shown.get("errors")
    for title, plots in shown["data"].items():
        assert {revision for plot in plots for revision in plot["revisions"]} == {"HEAD", "wide"}, title
