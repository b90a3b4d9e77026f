"""The report and the model card: nothing hostile gets through, nothing undefined becomes a number,
and the bytes repeat."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from stages.report import CARD, PAGE, SHEET, main
from tests.helpers.report_world import ROOT, WORDS, table, write_comparison, write_world
from transfer.classifiers.names import BASELINES, NETWORKS
from transfer.dataset.notes_file import write_notes
from transfer.report.charts import learning_curves
from transfer.report.formatting import listed, number, plural, points, shorten, visible
from transfer.report.html_page import PICTURE_BYTES
from transfer.report.narrative import Prose, ReportParams, describe, value
from transfer.report.results import HISTORY, read_results, read_table
from transfer.runtime.errors import PipelineError
from transfer.runtime.params import read_params

HOSTILE = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror='alert(2)'>",
    "{{ 7 * 7 }} {% raw %}",
    "$x^2$ \\frac | a `code` [link](http://example.com) ![i](http://example.com/i.png)",
    "猫 🐈",
    "\u202egnp.live",
    "two\nlines\r\x00\x1b[31m",
    "x" * 200,
    "--- # *bold* _it_ &amp; </style></svg></title>",
]


class Parsed(HTMLParser):
    """What a browser would see: elements with their attributes,
    and the text outside of scripts and styles."""

    def __init__(self, page: str):
        super().__init__()
        self.elements, self.text, self._raw = [], "", 0
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self._raw += tag in ("script", "style")

    def handle_endtag(self, tag):
        self._raw -= tag in ("script", "style")

    def handle_data(self, data):
        if not self._raw:
            self.text += data

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.elements if name == tag]


def report(project: Path) -> Parsed:
    with contextlib.chdir(project):
        main()
    return Parsed((project / PAGE).read_text(encoding="utf-8"))


def sentences(project: Path, **sections: dict) -> Prose:
    """What page and card say in sentences, without drawing anything;
    `sections` changes parameters."""
    with contextlib.chdir(project):
        params = read_params()
        params |= {name: params[name] | values for name, values in sections.items()}
        return describe(read_results(), ReportParams.model_validate(params["report"]), params)


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Path:
    """A project with results of two classes, and its report."""
    folder = tmp_path_factory.mktemp("plain")
    write_world(folder)
    report(folder)
    return folder


@pytest.fixture(scope="module")
def page(plain) -> Parsed:
    return Parsed((plain / PAGE).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> Path:
    """The same of classes and files with hostile names."""
    folder = tmp_path_factory.mktemp("hostile")
    write_world(folder, HOSTILE, n_test=18, wrong=range(9))
    report(folder)
    return folder


def matter(project: Path) -> dict:
    return yaml.safe_load((project / CARD).read_text(encoding="utf-8").split("---\n")[1])


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
    subprocess.run(
        [sys.executable, "-m", "stages.report"],
        cwd=other,
        env=variables,
        check=True,
        capture_output=True,
    )
    for file in (PAGE, SHEET, CARD):
        assert (plain / file).read_bytes() == (other / file).read_bytes(), file


def test_the_stage_starts_without_what_only_training_needs():
    script = (
        "import sys, stages.report; sys.exit(' '.join({'tensorflow', 'keras', 'sklearn'} & "
        "set(sys.modules)) or 0)"
    )
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False).returncode == 0


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


def test_differences_that_can_be_shown_are_listed_pair_by_pair(project):
    write_world(project)
    write_comparison(
        project, ["better, p = 0.012", "no difference can be shown", "no difference can be shown"]
    )
    claims = sentences(project).claims
    assert "augmented against head: better, p = 0.012." in claims
    assert "No difference can be shown between finetuned and head or augmented." in claims


WITH_BASELINES = (*NETWORKS, *BASELINES)


@pytest.fixture(scope="module")
def with_baselines(tmp_path_factory) -> Path:
    """A project with all six models, and its report."""
    folder = tmp_path_factory.mktemp("six")
    write_world(folder, models=WITH_BASELINES)
    report(folder)
    return folder


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


def test_a_baseline_without_its_setting_is_damaged(with_baselines, project):
    shutil.copytree(with_baselines, project, dirs_exist_ok=True)
    (project / "models/probe/model.json").write_text('{"class_names": ["cat", "dog"], "epoch": 2}')
    with pytest.raises(PipelineError, match=r"models/probe/model.json is damaged: .*strength = No"):
        read_results()


def test_curves_without_any_network_are_left_out():
    baseline = SimpleNamespace(name="probe", history=pd.DataFrame(columns=list(HISTORY)))
    assert learning_curves([baseline]) == []


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


def test_the_sheet_shows_images_as_they_are_and_views_beside_them(plain):
    with Image.open(plain / SHEET) as sheet:
        pixels = np.asarray(sheet)
    images = np.load(plain / "data/images/train/images.npy")
    assert (pixels[:32, :32, :3] == images[0]).all()
    assert (pixels[-32:, :32, :3] == images[-1]).all()
    assert pixels[0, 33, 3] == 0  # see-through between them
    assert not (pixels[:32, 44:76, :3] == images[0]).all()


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
        main()


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


def write_params(project: Path, **sections: dict) -> None:
    params = yaml.safe_load((project / "params.yaml").read_text())
    for section, values in sections.items():
        params[section] |= values
    (project / "params.yaml").write_text(yaml.safe_dump(params))


def test_a_table_keeps_text_that_looks_like_nothing(project):
    table(project / "t.csv", name=["NA", "", "1e5"], value=["0.5", "", "words"])
    found = read_table(Path("t.csv"), {"name": "text", "value": "number or words"})
    assert found["name"].tolist() == ["NA", "", "1e5"]
    assert found["value"].tolist() == [0.5, "", "words"]
