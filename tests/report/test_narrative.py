"""The sentences of page and card: which model did best, where data and weights come from, and what
is not known."""

import contextlib
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from stages.report import CARD
from tests.helpers.report_page import matter, report, sentences
from tests.helpers.report_world import table, write_comparison, write_world
from transfer.report.narrative import ReportParams, describe
from transfer.report.results import read_results
from transfer.runtime.params import read_params


def test_differences_that_can_be_shown_are_listed_pair_by_pair(project):
    write_world(project)
    write_comparison(
        project, ["better, p = 0.012", "no difference can be shown", "no difference can be shown"]
    )
    claims = sentences(project).claims
    assert "augmented against head: better, p = 0.012." in claims
    assert "No difference can be shown between finetuned and head or augmented." in claims


def test_a_baseline_is_described_by_its_setting_and_not_by_an_epoch(with_baselines):
    said = sentences(
        with_baselines,
        train_neighbours={"neighbours": [1, 5]},
        train_probe={"strengths": [1, 5, 9]},
    )
    told = dict(said.descriptions)
    assert told["neighbours"].endswith("5 images vote, the best by validation loss of 1 and 5.")
    assert told["probe"].endswith("the best by validation loss of 3, C = 5 (scikit-learn).")
    assert "poch" not in told["neighbours"] + told["probe"]


@pytest.mark.parametrize(
    ("verdict", "difference", "claim"),
    [
        ("no difference can be shown, p = 1", -0.01, "has not been shown: nothing tells its accur"),
        ("worse, p = 0.01", -0.1, "Training a head was worth it: it beats a linear probe"),
        ("better, p = 0.01", 0.1, "Training a head was not worth it: a linear probe on the same"),
    ],
)
def test_the_page_says_whether_training_a_head_was_worth_it(
    with_baselines, verdict, difference, claim
):
    with contextlib.chdir(with_baselines):
        results, params = read_results(), read_params()
    comparison = results.comparison
    row = (comparison["model"] == "probe") & (comparison["against"] == "head")
    comparison.loc[row, ["verdict", "difference"]] = [verdict, difference]
    told = ReportParams.model_validate(params["report"])
    claims = describe(replace(results, comparison=comparison), told, params).claims
    assert sum(claim in each for each in claims) == 1


@pytest.mark.parametrize(
    ("actual", "said"),
    [
        (["cat", "dog", "dog"], "“dog”, the most frequent class there, would reach 66.7"),
        (["dog", "cat"], "“cat”, than which no class is more frequent, would reach 50.0"),
    ],
)
def test_equally_frequent_classes_are_not_called_the_most_frequent(plain, actual, said):
    with contextlib.chdir(plain):
        results, params = read_results(), read_params()
    predictions = results.models[0].predictions.head(len(actual)).assign(actual=actual)
    models = [replace(results.models[0], predictions=predictions), *results.models[1:]]
    told = ReportParams.model_validate(params["report"])
    claims = describe(replace(results, models=models), told, params).claims
    assert sum(f"Always answering {said}" in each for each in claims) == 1


def test_missing_statements_are_reported_and_not_invented(plain):
    said = sentences(plain, report={"data_origin_of": "other.zip"})
    assert matter(plain)["license"] == "unknown"
    assert said.origin.startswith("Nobody has told the pipeline who made these images")
    assert said.intended_use.startswith("Nobody has said what these models are meant for")
    assert said.license.startswith("No licence was chosen for the models")


def test_what_a_person_told_is_on_page_and_card(project):
    write_world(project)
    told = {
        "title": "Cats & <dogs>",
        "data_origin": "Ours.",
        "data_origin_of": "data/sample/animals.zip",
        "intended_use": "Toys.",
    }
    write_params(project, report=told | {"license": "mit"})
    page = report(project)
    assert "Cats & <dogs>" in page.text
    text = (project / CARD).read_text()
    assert matter(project)["license"] == "mit"
    assert "Ours." in text
    assert "Toys." in text
    assert "# Cats &amp; &lt;dogs&gt;" in text


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ({}, "CC-BY-4.0. They are by: Visual Geometry Group, University of Oxford"),
        ({"path": "mine.h5"}, "does not know their licence"),
        ({"source": "random"}, "nothing pretrained"),
    ],
)
def test_the_licence_of_the_weights_follows_their_source(plain, weights, words):
    assert words in sentences(plain, weights=weights).weights_license


def test_copies_on_two_sides_of_the_split_are_reported(project):
    write_world(project)
    table(
        project / "data/split/duplicates.csv",
        group=[0, 0, 1, 1],
        split=["train", "test", "train", "train"],
        path=["a", "b", "c", "d"],
        class_name=["cat", "cat", "cat", "dog"],
        same_file_in_two_classes=["False", "False", "True", "True"],
    )
    copies = sentences(project).copies
    assert (
        "4 images in 2 groups of copies and near-copies; 1 group lies on more than one side of the "
        "split." in copies
    )
    assert "2 of these images are the same file in two classes" in copies


def write_params(project: Path, **sections: dict) -> None:
    params = yaml.safe_load((project / "params.yaml").read_text())
    for section, values in sections.items():
        params[section] |= values
    (project / "params.yaml").write_text(yaml.safe_dump(params))
