"""What the report joins and refuses, and that neither it nor the baselines need Keras."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from tests.helpers.tiny_sources import REPOSITORY
from transfer.classifiers.names import MODEL_NAMES
from transfer.report.joined import accuracy_table, copy_sheets, joined, read_is_right, read_scores
from transfer.runtime.errors import PipelineError

HEAVY = ("tensorflow", "keras", "jax", "torch")
TEST = pd.DataFrame({"path": ["a/1.png", "b/1.png"]})


def write(path: str, text: str) -> Path:
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def test_comparisons_the_page_and_the_baselines_import_no_backend_and_nothing_for_constants():
    stages = {
        "report": (*HEAVY, "fsspec", "sklearn"),
        "train_neighbours": HEAVY,
        "train_probe": HEAVY,
        "evaluate": (*HEAVY, "fsspec"),
    }
    script = (
        "import sys, importlib\n"
        f"for stage, without in {stages}.items():\n"
        "    importlib.import_module(f'stages.{stage}')\n"
        "    if loaded := [name for name in without if name in sys.modules]:\n"
        "        sys.exit(f'{stage}: {loaded}')"
    )
    finished = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr


def test_a_skipped_model_has_no_scores_and_the_others_keep_their_order(project):
    for name in MODEL_NAMES:
        scores = "{}" if name == "scratch" else '{"accuracy": 0.5}'
        write(f"data/evaluation/{name}/scores.json", scores)
    assert list(read_scores()) == [name for name in MODEL_NAMES if name != "scratch"]


def test_tables_are_joined_with_their_digits_and_words_as_they_are(project):
    files = {
        name: write(f"{name}.csv", "class_name,recall\nNA,0.50\nnull,never predicted\n")
        for name in ("own", "head")
    }
    table = joined(files)
    assert table.to_numpy().tolist() == [
        ["own", "NA", "0.50"],
        ["own", "null", "never predicted"],
        ["head", "NA", "0.50"],
        ["head", "null", "never predicted"],
    ]
    assert list(table.columns) == ["model", "class_name", "recall"]


def test_a_curve_without_points_adds_no_row(project):
    files = {"own": write("own.csv", "x,y\n"), "head": write("head.csv", "x,y\n1,2\n")}
    assert joined(files).to_numpy().tolist() == [["head", "1", "2"]]


def test_what_is_right_is_what_the_predictions_say(project):
    write(
        "data/evaluation/own/predictions.csv",
        "path,actual,predicted,probability\na/1.png,a,b,0.9\nb/1.png,b,b,0.8\n",
    )
    assert read_is_right("own", TEST).tolist() == [False, True]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "predictions.csv is missing; run `dvc repro` or `dvc pull`"),
        ("", "predictions.csv is damaged"),
        ("path,actual,predicted\nb/1.png,b,b\n", "lists other images than the manifest"),
    ],
)
def test_predictions_of_other_images_are_refused(project, content, said):
    if content is not None:
        write("data/evaluation/own/predictions.csv", content)
    with pytest.raises(PipelineError, match=said):
        read_is_right("own", TEST)


@pytest.mark.parametrize(
    ("content", "said"), [(None, "is missing"), ("{", "is damaged"), ("3", "is damaged")]
)
def test_scores_that_cannot_be_read_are_named(project, content, said):
    if content is not None:
        write(f"data/evaluation/{MODEL_NAMES[0]}/scores.json", content)
    with pytest.raises(PipelineError, match=rf"{MODEL_NAMES[0]}/scores\.json {said}"):
        read_scores()


def test_sheets_of_models_that_there_are_no_more_go(project):
    write("plots/mistakes/gone.png", "old")
    write("data/evaluation/own/mistakes.png", "new")
    copy_sheets(["own"], Path("plots/mistakes"))
    assert [path.name for path in Path("plots/mistakes").iterdir()] == ["own.png"]


def test_the_table_of_intervals_has_a_row_a_model():
    scores = {
        name: {"accuracy": 0.5, "accuracy_low": 0.25, "accuracy_high": 0.75, "n": 8}
        for name in ("head", "finetuned")
    }
    assert accuracy_table(scores).to_numpy().tolist() == [
        ["head", 0.5, 0.25, 0.75],
        ["finetuned", 0.5, 0.25, 0.75],
    ]
