"""Two test images of one class, under the real pipeline: words where numbers would mean nothing,
and no crash."""

import json
from pathlib import Path

import pandas as pd
import pytest

from tests.helpers.tiny_pipeline import MODELS, build_world, call, draw_image, repro, set_param

pytestmark = pytest.mark.slow  # a whole run of its own


@pytest.fixture(scope="module")
def little(tmp_path_factory) -> Path:
    """A world whose source is already split, with nothing of the class `a` to test."""
    project = tmp_path_factory.mktemp("little")
    build_world(project)
    set_param(project, "split.source", "little")
    seeds = iter(range(1000, 2000))
    for split, counts in {
        "train": {"a": 4, "b": 4},
        "validation": {"a": 2, "b": 2},
        "test": {"b": 2},
    }.items():
        for label, count in counts.items():
            for i in range(count):
                draw_image(project / "little" / split / label / f"{i}.png", next(seeds))
    call("git", "add", "--all", cwd=project)
    call("git", "commit", "--quiet", "--message", "a little", cwd=project)
    repro(project)
    return project


def test_scores_without_meaning_are_words(little):
    for name in MODELS:
        scores = json.loads(
            (little / f"data/evaluation/{name}/scores.json").read_text(), parse_constant=pytest.fail
        )
        assert scores["n"] == 2
        assert scores["roc_auc"] == scores["average_precision"] == "not defined: no test image of a"
        assert (
            pd.read_csv(little / f"data/evaluation/{name}/classes.csv").loc[0, "recall"]
            == "no test image"
        )


def test_two_images_show_no_difference(little):
    table = pd.read_csv(little / "plots/comparison.csv", keep_default_na=False)
    assert table["verdict"].str.startswith("no difference can be shown").all()


def test_what_can_be_drawn_is_drawn(little):
    shown = json.loads(call("dvc", "plots", "show", "--json", cwd=little).stdout)
    assert not shown.get("errors")
    assert "Confusion on the scored images" in shown["data"]
