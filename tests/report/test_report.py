"""The report and the model card: nothing hostile gets through, nothing undefined becomes a number,
and the bytes repeat."""

import json
import os
import re
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from stages.report import CARD, PAGE
from tests.helpers.report_page import HOSTILE, WITH_BASELINES, Parsed, matter, report
from tests.helpers.report_world import ROOT, WORDS, table, write_world
from transfer.classifiers.names import NETWORKS
from transfer.dataset.notes_file import write_notes
from transfer.dataset.scored_split import OPTIMISTIC
from transfer.evaluation import scores
from transfer.evaluation.scores import rankings
from transfer.report.charts import learning_curves, precision_recall_chart, roc_chart
from transfer.report.formatting import number, visible
from transfer.report.html_page import PICTURE_BYTES, breakable
from transfer.report.results import HISTORY
from transfer.runtime.errors import PipelineError


def test_the_page_says_what_was_found(page):
    assert (
        "On 20 test images that took no part in training or in any choice, augmented did best: 18 "
        "right" in page.text
    )
    assert (
        "No difference in accuracy can be shown between head, augmented and finetuned" in page.text
    )
    assert "head 3, augmented 2 and finetuned 3" in page.text
    assert "The audit has 3 findings on 3 images: label 2, outlier 1." in page.text
    assert "block5_conv1" in page.text  # a parameter
    assert len(page.all("img")) == 8 + 1  # the mistakes and the sheet
    assert len(page.all("svg")) == 7
    assert all(
        svg["role"] == "img" and re.search(r"\d", svg["aria-label"]) for svg in page.all("svg")
    )


def test_the_page_is_one_that_needs_nothing_else(page):
    assert len(page.all("h1")) == len(page.all("main")) == len(page.all("script")) == 1
    (policy,) = [
        meta["content"]
        for meta in page.all("meta")
        if meta.get("http-equiv") == "Content-Security-Policy"
    ]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy.split("script-src")[1]
    targets = [
        value
        for _, attributes in page.elements
        for key, value in attributes.items()
        if key in ("src", "href", "action", "srcset")
    ]
    assert targets
    assert all(target.startswith(("data:", "#")) for target in targets)
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {target[1:] for target in targets if target.startswith("#")} <= set(ids)
    assert all(image["alt"] for image in page.all("img"))


def test_charts_have_the_pages_colours_only(plain):
    for svg in re.findall("<svg.*?</svg>", (plain / PAGE).read_text(), re.DOTALL):
        assert not re.search(r"#[0-9a-f]{6}|rgb\(|font-family", svg)


def test_hostile_names_stay_text(hostile):
    page = Parsed((hostile / PAGE).read_text(encoding="utf-8"))
    assert len(page.all("script")) == 1
    assert not [
        attributes
        for _, attributes in page.elements
        if any(key.startswith("on") for key in attributes)
    ]
    assert {image["src"][:22] for image in page.all("img")} == {"data:image/png;base64,"}
    for name in HOSTILE:
        assert visible(name) in page.text
    assert "\x00" not in page.text
    assert len(page.all("title")) == 1


def test_hostile_names_break_neither_front_matter_nor_markdown(hostile):
    text = (hostile / CARD).read_text(encoding="utf-8")
    body = text.split("---\n", 2)[2]
    assert matter(hostile)["pipeline_tag"] == "image-classification"
    assert not re.search(r"<(script|img|/)", body)
    assert not re.search(r"(?<!\\)\]\(http", body)
    tables = re.findall(r"(?:^\|.*\n)+", body, re.MULTILINE)
    assert len(tables) == 4
    for rows in tables:
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows.splitlines()}) == 1
    assert body.count("two lines") >= 1


def test_the_same_results_give_the_same_bytes_in_another_folder_and_process(plain, tmp_path):
    other = tmp_path / "other place"
    other.mkdir()
    write_world(other)
    variables = {
        **os.environ,
        "PYTHONHASHSEED": "1",
        "PYTHONPATH": str(ROOT),
        "MPLCONFIGDIR": str(tmp_path),
        "TZ": "Asia/Tokyo",
    }
    (tmp_path / "matplotlibrc").write_text("lines.linewidth: 9\nsvg.fonttype: path\n")
    script = "from tests.helpers.report_page import Path, report\nreport(Path())"
    subprocess.run(
        [sys.executable, "-c", script],
        cwd=other,
        env=variables,
        check=True,
        capture_output=True,
    )
    for file in (PAGE, CARD):
        assert (plain / file).read_bytes() == (other / file).read_bytes(), file


def test_undefined_scores_are_explained_in_sentences(project):
    write_world(project, absent=["dog"], defined=False, wrong=())
    page = report(project)
    assert WORDS in page.text
    assert "nan" not in page.text.lower()
    assert all(
        entry["results"][0]["metrics"][0]["type"] == "accuracy"
        for entry in matter(project)["model-index"]
    )
    assert all(len(entry["results"][0]["metrics"]) == 1 for entry in matter(project)["model-index"])


def test_without_an_accuracy_nothing_is_claimed_and_nothing_told_to_hubs(project):
    write_world(project, defined=False)
    for name in ("head", "augmented", "finetuned"):
        file = project / f"data/evaluation/{name}/scores.json"
        scores = json.loads(file.read_text()) | dict.fromkeys(
            ("accuracy", "accuracy_low", "accuracy_high"), "not defined: no image"
        )
        file.write_text(json.dumps(scores))
    table(
        project / "plots/accuracy.csv",
        model=["head"],
        accuracy=["not defined"],
        low=["not defined"],
        high=["not defined"],
    )
    page = report(project)
    assert "The accuracy cannot be given: not defined: no image." in page.text
    assert "did best" not in page.text
    assert "model-index" not in matter(project)


@pytest.mark.parametrize("wrong", [(), range(20)], ids=["always right", "always wrong"])
def test_a_model_that_is_always_right_or_always_wrong(project, wrong):
    write_world(project, wrong=wrong)
    page = report(project)
    if len(wrong):
        assert "no model has been shown to do better than that" in page.text
    else:
        assert "No model got a test image wrong." in page.text
        assert not [
            attributes for attributes in page.all("ol") if attributes.get("id") == "mistake-list"
        ]


def test_two_test_images_carry_no_conclusion(project):
    write_world(project, n_test=2, wrong=[0])
    assert "2 test images cannot carry a conclusion" in report(project).text


def test_scores_of_validation_images_are_called_so_on_page_and_card(project):
    write_world(project, split="validation")
    page = report(project)
    card = (project / CARD).read_text(encoding="utf-8")
    for text in (page.text, card):
        assert "On 20 validation images that took no part in training, augmented did best" in text
        assert OPTIMISTIC in text
        assert "test image" not in text.replace(OPTIMISTIC, "")
        assert "test split" not in text and "or in any choice" not in text
        assert "other validation images of the same kind" in text
    assert "## Evaluation (validation images)" in card
    assert {
        result["dataset"]["split"]
        for model in matter(project)["model-index"]
        for result in model["results"]
    } == {"validation"}
    for title in (
        "Accuracy with its 95 % interval",
        "ROC curve",
        "Precision and recall",
        "Are the probabilities to be believed?",
        "Images by actual and predicted class",
        "Scores by class",
        "Every metric",
    ):
        assert f"{title} (validation images)" in page.text
    assert "The models on 20 validation images" in page.text
    assert "Of 20 validation images these were wrong" in page.text
    assert "On the same validation images" in page.text
    assert "share of validation images" in page.text
    assert "accuracy on the validation split" in page.text


def test_scores_of_an_unknown_split_are_refused(project):
    write_world(project)
    file = project / "data/evaluation/head/scores.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"split": "train"}))
    with pytest.raises(PipelineError, match=r"scores.json is damaged: split = 'train'"):
        report(project)


def test_a_thousand_classes_stay_readable(project):
    write_world(
        project,
        [f"class {i:04}" for i in range(1000)],
        n_test=2000,
        wrong=range(0, 2000, 2),
        n_train=3000,
    )
    page = report(project)
    assert (project / PAGE).stat().st_size < 3_000_000
    assert "1,000 classes make too large a matrix to read" in page.text
    assert "960 classes between the largest and the smallest are left out" in page.text
    assert "The 40 classes with the lowest F1; plots/classes.csv has all 1,000." in page.text
    assert "of the 5,004 are drawn" in page.text
    assert len(page.all("tr")) < 1000
    assert "and 980 other classes" in (project / CARD).read_text()


def test_the_page_states_the_limit_of_pictures_of_mistakes(project):
    write_world(project, n_test=200, wrong=range(200), shown=100)
    page = report(project)
    shown = [
        attributes["data-model"] for attributes in page.all("li") if "data-model" in attributes
    ]
    assert (project / PAGE).stat().st_size < 1.5 * PICTURE_BYTES + 400_000
    assert f"{len(shown)} of the 599 mistakes are shown" in page.text
    counts = [shown.count(name) for name in ("head", "augmented", "finetuned")]
    assert max(counts) - min(counts) <= 1


def test_many_findings_and_rejected_files_are_cut_with_a_word(project):
    write_world(project)
    many = [f"cat/{i}.png" for i in range(500)]
    table(project / "data/split/rejected.csv", path=many, reason="is empty")
    table(
        project / "data/audit/issues.csv",
        path=many,
        split="train",
        class_name="cat",
        issue="dark",
        score=0.1,
        detail="",
    )
    page = report(project)
    assert "460 more rows in data/split/rejected.csv." in page.text
    assert "460 more rows in data/audit/issues.csv." in page.text


def test_what_split_did_to_the_data_is_one_paragraph(project):
    write_world(project)
    assert "Nothing was left out, scaled, laid over a background or tied." in report(project).text
    write_notes(["text beside the images, passed over: .json (3)", "classes are one: a and A"])
    page = report(project)
    assert "Text beside the images, passed over: .json (3). Classes are one: a and A." in page.text


def test_an_empty_audit_says_so(project):
    write_world(project)
    for file in ("issues", "feature_map"):
        path = project / f"data/audit/{file}.csv"
        path.write_text(path.read_text().splitlines()[0] + "\n")
    (project / "metrics/audit.json").write_text("{}")
    page = report(project)
    assert "The audit found nothing to look at." in page.text
    assert "The audit made no map." in page.text


def test_six_models_are_on_the_page_and_only_networks_have_learning_curves(with_baselines):
    page = Parsed((with_baselines / PAGE).read_text(encoding="utf-8"))
    assert len(page.all("svg")) == 7
    labels = [svg["aria-label"] for svg in page.all("svg")]
    by_epoch = [label for label in labels if " by epoch" in label]
    assert len(by_epoch) == 2
    for label in labels:
        if "class" not in label:  # all but the map of images
            shown = [name for name in WITH_BASELINES if name in label]
            assert shown == list(NETWORKS if label in by_epoch else WITH_BASELINES), label
    card = (with_baselines / CARD).read_text()
    assert "| probe |" in card and "train\\_neighbours" in card
    assert (
        "three ways to train on top of it, compared with a small network from scratch, nearest "
        "neighbours and a linear probe" in page.text
    )
    assert "the nearest training image of the class that was answered" in page.text


def test_curves_without_any_network_are_left_out():
    baseline = SimpleNamespace(name="probe", history=pd.DataFrame(columns=list(HISTORY)))
    assert learning_curves([baseline]) == []


@pytest.mark.parametrize(
    ("key", "chart", "metric", "score_of"),
    [
        ("roc", roc_chart, "roc_auc", roc_auc_score),
        (
            "precision_recall",
            precision_recall_chart,
            "average_precision",
            average_precision_score,
        ),
    ],
)
def test_the_number_beside_a_curve_of_many_classes_is_that_of_the_curve(
    key, chart, metric, score_of
):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 60)
    # scores of one class are larger than those of the others, so the mean over classes is another
    probabilities = rng.random((60, 3)) + np.eye(3)[labels] / 2 + [0, 0, 3]
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    model = SimpleNamespace(
        split="test",
        name="head",
        class_names=["a", "b", "c"],
        metrics=rankings(labels, probabilities, ["a", "b", "c"]),
        **{key: getattr(scores, key)(labels, probabilities)},
    )
    pooled = number(score_of(*scores.one_class(labels, probabilities)))
    assert pooled != number(model.metrics[metric])
    drawn = chart([model])
    assert drawn.says.endswith(f": head {pooled}")
    assert f"head {pooled}" in drawn.svg


def test_text_may_be_broken_within_a_path_but_not_within_a_number():
    assert breakable("cat/a_b-1.png") == "cat/<wbr>a_<wbr>b-<wbr>1.<wbr>png"
    assert breakable("p = 0.0029") == "p = 0.0029"


def test_the_card_has_the_numbers(plain):
    found = {
        entry["name"].rsplit(", ")[-1]: entry["results"][0]
        for entry in matter(plain)["model-index"]
    }
    for name, result in found.items():
        scores = json.loads((plain / f"data/evaluation/{name}/scores.json").read_text())
        values = {metric["type"]: metric["value"] for metric in result["metrics"]}
        assert values["accuracy"] == scores["accuracy"]
        assert values["f1"] == scores["macro_f1"]
        assert values["log_loss"] == scores["log_loss_calibrated"]
    text = (plain / CARD).read_text()
    assert (
        "| head | 85.0\N{NO-BREAK SPACE}% | 75.0\N{NO-BREAK SPACE}% to 95.0\N{NO-BREAK SPACE}% |"
        in text
    )
    assert "| All 2 classes | 12 | 4 | 20 | 36 |" in text
    assert "learning\\_rate 0.00003" in text
