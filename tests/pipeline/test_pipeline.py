"""The real pipeline under real DVC, in a tiny world: random weights, 32 pixels, two views,
two epochs."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from tests.commands.test_verify import flip
from tests.helpers.tiny_pipeline import (
    MODELS,
    STAGES,
    call,
    copy_world,
    files_in,
    repro,
    run_alone,
    set_param,
)
from transfer.classifiers.names import NETWORKS

SHAPES = {
    "data/images/train/images.npy": (12, 32, 32, 3),
    "data/features/train/features.npy": (12, 1, 1, 512),
    "data/features/train/cut.npy": (12, 2, 2, 512),
    "data/features/validation/features.npy": (6, 1, 1, 512),
    "data/features/test/cut.npy": (6, 2, 2, 512),
    "data/views/features.npy": (2, 12, 1, 1, 512),
    "data/views/cut.npy": (2, 12, 2, 2, 512),
}


@pytest.fixture
def project(base: Path, tmp_path: Path) -> Path:
    """A copy of the reproduced world, to be changed."""
    return copy_world(base, tmp_path / "project")


def test_arrays_have_the_designs_shapes_and_rows_match_the_manifest(base):
    for name, shape in SHAPES.items():
        array = np.load(base / name)
        assert array.shape == shape
        assert array.dtype == ("uint8" if "images" in name else "float32")
        assert array.any()


SCORES = (
    "n accuracy accuracy_low accuracy_high balanced_accuracy macro_f1 roc_auc average_precision "
    "log_loss brier ece"
)
CALIBRATED = (
    "temperature log_loss_calibrated brier_calibrated ece_calibrated threshold "
    "accuracy_at_threshold"
)


def test_metrics_are_flat_and_hold_the_promised_scores(base):
    accuracy, evaluation = (
        json.loads((base / f"metrics/{name}.json").read_text())
        for name in ("accuracy", "evaluation")
    )
    assert list(accuracy) == list(evaluation) == [*MODELS]
    for name in MODELS:
        scores = evaluation[name]
        assert list(scores) == [*SCORES.split(), *CALIBRATED.split()]
        assert scores["n"] == 6
        assert accuracy[name] == scores["accuracy"]
        assert scores["accuracy_low"] <= scores["accuracy"] <= scores["accuracy_high"]


def test_the_audit_counts_what_it_lists(base):
    counts = json.loads((base / "metrics/audit.json").read_text())
    issues = pd.read_csv(base / "data/audit/issues.csv")
    assert counts["images"] == len(pd.read_csv(base / "data/audit/feature_map.csv")) == 18
    assert {kind: counts[kind] for kind in issues["issue"].unique()} == issues[
        "issue"
    ].value_counts().to_dict()
    assert counts["images_with_issues"] == issues["path"].nunique()


def test_predictions_and_metrics_agree(base):
    for name in MODELS:
        table = pd.read_csv(base / f"data/evaluation/{name}/predictions.csv")
        scores = json.loads((base / f"data/evaluation/{name}/scores.json").read_text())
        accuracy = scores["accuracy"]
        assert (table["actual"] == table["predicted"]).mean() == pytest.approx(accuracy, abs=1e-6)


def test_what_null_stands_for_is_in_the_experiments_record(base):
    shown = json.loads(call("dvc", "exp", "show", "--json", cwd=base).stdout)
    network = shown[0]["data"]["metrics"]["metrics/network.json"]["data"]
    assert network == {
        "name": "VGG16",
        "image_size": 32,
        "unfreeze_from": "block5_conv1",
        "frozen_parameters": 7_635_264,
        "trainable_parameters": 7_079_424,
    }


def test_each_curve_is_one_table_with_the_rows_of_all_models(base):
    for name in ("classes", "history", "precision_recall", "predictions", "reliability", "roc"):
        table = pd.read_csv(base / f"plots/{name}.csv", dtype=str)
        # the baselines have no epochs
        assert list(table["model"].unique()) == [*(NETWORKS if name == "history" else MODELS)]
        own = table[table["model"] == "head"].drop(columns="model").reset_index(drop=True)
        file = (
            "models/head/history.csv" if name == "history" else f"data/evaluation/head/{name}.csv"
        )
        pd.testing.assert_frame_equal(own, pd.read_csv(base / file, dtype=str))


def test_nothing_changed_runs_nothing_and_leaves_git_clean(project):
    assert repro(project).stages == []
    assert call("git", "status", "--porcelain", cwd=project).stdout == ""


def test_each_stage_needs_its_dependencies_only_and_writes_the_same_bytes_in_another_folder(
    base, tmp_path
):
    """Proves the data half of dvc.yaml, and that every output repeats bit for bit."""
    lock = yaml.safe_load((base / "dvc.lock").read_text())["stages"]
    stages = {name: lock[name] for name in STAGES}
    for name, files in run_alone(base, tmp_path, stages, warm=True).items():
        outputs = [out["path"] for out in lock[name]["outs"]]
        expected = {
            file
            for out in outputs
            for file in (
                [out] if (base / out).is_file() else [f"{out}/{f}" for f in files_in(base / out)]
            )
        }
        kept = {file for file in files if file.startswith(".cache/")}  # LiteRT files of trainings
        assert files - kept == expected
        for file in files:
            assert (tmp_path / name / file).read_bytes() == (base / file).read_bytes(), (
                f"{file} differs"
            )


def test_every_plot_is_drawn_for_the_workspace_and_for_the_commit(base):
    drawn = json.loads(call("dvc", "plots", "diff", "HEAD", "--json", cwd=base).stdout)
    assert not drawn.get("errors")
    specifications = {
        name: plots[0]["content"]
        for name, plots in drawn["data"].items()
        if plots[0]["type"] == "vega"
    }
    declared = yaml.safe_load((base / "dvc.yaml").read_text())["plots"]
    assert set(specifications) == {next(iter(plot)) for plot in declared if isinstance(plot, dict)}
    for content in specifications.values():
        assert {row["rev"] for row in content["data"]["values"]} == {"HEAD", "workspace"}
        assert "<DVC_METRIC" not in json.dumps(content)
    images = {name: plots for name, plots in drawn["data"].items() if plots[0]["type"] == "image"}
    mistakes = {f"plots/mistakes/{name}.png" for name in MODELS}
    assert set(images) == mistakes | {"plots/augmentation.png"}


def test_a_bit_that_flipped_unseen_is_not_trained_on(project):
    """DVC trusts the file's time and size; the stage does not, and what `make verify` prints
    repairs it."""
    call("dvc", "status", cwd=project)
    flip(project / "data/features/train/features.npy")
    set_param(project, "train_probe.strengths", [1, 2])
    refused = call("dvc", "repro", "train_probe", cwd=project, check=False)
    assert refused.returncode != 0
    assert "train_probe: data/features/train is not what dvc.lock says" in refused.stderr
    said = call("python", "-m", "transfer", "verify", cwd=project, check=False).stdout
    for command in re.findall(r"^    (\w.*)", said, re.MULTILINE):
        call(*shlex.split(command), cwd=project)
    assert repro(project, "train_probe").stages == ["train_probe"]


@pytest.mark.slow
def test_a_change_by_hand_is_kept_by_the_command_that_the_message_names(project):
    with (project / "models/probe/choices.csv").open("a") as choices:
        choices.write("\n")
    refused = call("dvc", "repro", "--single-item", "evaluate@probe", cwd=project, check=False)
    (command,) = re.findall(r"`(dvc commit[^`]*)`", refused.stderr)
    call(*shlex.split(command), "--force", cwd=project)
    said = call("dvc", "status", "train_probe", cwd=project).stdout
    assert said == "Data and pipelines are up to date.\n"


def test_a_users_mistake_in_params_ends_in_one_message_without_a_traceback(project):
    set_param(project, "train_probe.strengths", "abc")
    finished = call("dvc", "repro", "train_probe", cwd=project, check=False)
    assert finished.returncode != 0
    assert "params.yaml: train_probe.strengths = 'abc'" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_help_says_what_a_stage_reads_and_writes(base):
    text = call("python", "-m", "stages.extract", "--help", cwd=base).stdout
    for words in (
        "Run every image once",
        "data/images/train",
        "data/features/train",
        "backbone",
    ):
        assert words in text


@pytest.mark.slow
def test_the_summary_names_each_model_what_was_reused_and_why_outputs_are_not_the_commits(project):
    set_param(project, "train_head.units", 6)
    said = call("python", "-m", "transfer", "run", cwd=project).stdout
    table = said.split("\n\n")[-2].splitlines()
    by_model = {line.split()[0]: line for line in table}
    assert re.search(
        r"head +\d\.\d{3} \(\d\.\d{3} to \d\.\d{3}\) +[\d.]+ +train_head +split, decode, weights, "
        r"convert, extract",
        by_model["head"],
    )
    assert re.search(
        r"0\.0 +nothing +split, decode, weights, convert, extract, augment, train_augmented, "
        r"finetune",
        by_model["finetuned"],
    )
    same, outputs, others = re.fullmatch(
        r"(\d+) of (\d+) outputs are the bytes of the commit \(dvc.lock in HEAD\); (.+)",
        said.splitlines()[-1],
    ).groups()
    assert int(same) < int(outputs)
    assert others.startswith("not models/head, data/evaluation/head, ")
    assert others.endswith(" more: train_head.units is 6 in params.yaml, 4 in the commit.")
