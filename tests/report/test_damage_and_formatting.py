"""What the report reads: damaged results end in a sentence; and how it writes numbers and names."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.report_page import report
from tests.helpers.report_world import table, write_world
from transfer.report.formatting import listed, number, plural, points, shorten, visible
from transfer.report.narrative import value
from transfer.report.results import read_results, read_table
from transfer.runtime.errors import PipelineError
from transfer.runtime.params import read_params


def test_a_baseline_without_its_setting_is_damaged(with_baselines, project):
    shutil.copytree(with_baselines, project, dirs_exist_ok=True)
    (project / "models/probe/model.json").write_text('{"class_names": ["cat", "dog"], "epoch": 2}')
    with pytest.raises(PipelineError, match=r"models/probe/model.json is damaged: .*strength = No"):
        read_results()


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        (
            "plots/comparison.csv",
            None,
            "plots/comparison.csv is missing; run `dvc repro` or `dvc pull`",
        ),
        ("plots/comparison.csv", "a,b\n1,2\n", "column 'model' is missing among a, b"),
        (
            "models/head/history.csv",
            "epoch,loss,accuracy,val_loss,val_accuracy\n1,x,0,0,0\n",
            "models/head/history.csv is damaged",
        ),
        ("data/evaluation/head/scores.json", "[1]", "it holds a list, an object was expected"),
        ("data/evaluation/head/scores.json", "{", "data/evaluation/head/scores.json is damaged"),
        ("data/evaluation/head/scores.json", '{"n": 3}', "accuracy is missing"),
        ("models/head/model.json", '{"class_names": [1], "epoch": 2}', "class_names = [1]"),
        (
            "data/evaluation/head/mistakes/000.png",
            None,
            "data/evaluation/head/mistakes/000.png cannot be read",
        ),
        ("data/evaluation/head/mistakes/000.png", "<svg>", "it is no PNG"),
        (
            "data/evaluation/head/mistakes.csv",
            "file,path,actual,predicted,probability\n../../secret,a,b,c,1\n",
            "is no name of a file in",
        ),
        (
            "plots/augmentation.png",
            None,
            "plots/augmentation.png cannot be read (No such file or directory); run `dvc repro "
            "augment`",
        ),
        ("data/weights/backbone.weights.h5", None, "data/weights/backbone.weights.h5 is missing"),
        ("data/audit/issues.csv", "", "data/audit/issues.csv is damaged"),
    ],
)
def test_damaged_results_end_in_a_sentence(project, file, content, said):
    write_world(project)
    (project / file).unlink()
    if content is not None:
        (project / file).write_text(content)
    with pytest.raises(PipelineError, match=re.escape(said)):
        report(project)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[", "is not valid YAML"),
        ("a: 1\n", "sections of parameters were expected"),
        (None, "weights.source is missing"),
    ],
)
def test_damaged_parameters_end_in_a_sentence(project, content, said):
    (project / "params.yaml").write_text(content or "weights: {}\n")
    with pytest.raises(PipelineError, match=said):
        value(read_params(), "weights.source")


def test_numbers_read_as_people_write_them():
    assert number(0.12345) == "0.123"
    assert number(-0.5, 1) == "−0.5"
    assert number(float("nan")) == "not defined"
    assert number("words") == "words"
    assert points(np.float64(-0.0151)) == "−1.5"
    assert plural(1, "class") == "1 class"
    assert plural(1200, "other class") == "1,200 other classes"
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert shorten("x" * 50) == "x" * 11 + "…" + "x" * 11
    assert visible("a\nb\x00\udcff") == "a b\ufffd\ufffd"


def test_a_table_keeps_text_that_looks_like_nothing(project):
    table(project / "t.csv", name=["NA", "", "1e5"], value=["0.5", "", "words"])
    found = read_table(Path("t.csv"), {"name": "text", "value": "number or words"})
    assert found["name"].tolist() == ["NA", "", "1e5"]
    assert found["value"].tolist() == [0.5, "", "words"]
