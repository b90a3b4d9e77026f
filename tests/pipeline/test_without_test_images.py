"""`split.test: 0` under the real pipeline: the models are scored on the validation images, and all
that shows a score says so."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.helpers.tiny_pipeline import MODELS, build_world, call, repro, set_param
from transfer.dataset.scored_split import OPTIMISTIC

pytestmark = pytest.mark.slow  # a whole run of its own


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    project = tmp_path_factory.mktemp("without") / "test images"
    project.mkdir()
    build_world(project)
    for name, size in (("train", 0.75), ("validation", 0.25), ("test", 0)):
        set_param(project, f"split.{name}", size)
    set_param(project, "export.formats", ["litert"])
    printed = call("python", "-m", "transfer", "run", cwd=project).stdout
    (project / "printed.txt").write_text(printed)
    return project


def test_the_arrays_of_the_test_split_are_empty(world):
    for name in ("images/test/images", "features/test/features", "features/test/cut"):
        found, like = (
            np.load(world / f"data/{each}.npy") for each in (name, name.replace("test", "train", 1))
        )
        assert (found.shape, found.dtype) == ((0, *like.shape[1:]), like.dtype)


def test_every_score_says_that_it_is_of_validation_images(world):
    assert json.loads((world / "metrics/accuracy.json").read_text())["split"] == "validation"
    evaluation = json.loads((world / "metrics/evaluation.json").read_text())
    assert {name: scores["split"] for name, scores in evaluation.items()} == dict.fromkeys(
        MODELS, "validation"
    )
    assert all(scores["n"] == 6 for scores in evaluation.values())
    for path in (world / "plots").glob("*.csv"):
        if path.stem != "history":
            assert set(pd.read_csv(path)["split"]) == {"validation"}
    manifest = pd.read_csv(world / "data/manifest/manifest.csv")
    validation = manifest.loc[manifest["split"] == "validation", "path"].tolist()
    predicted = pd.read_csv(world / "plots/predictions.csv")
    assert all(table["path"].tolist() == validation for _, table in predicted.groupby("model"))
    for name in ("plots/report.html", "MODEL_CARD.md"):
        assert "On 6 validation images" in (world / name).read_text(encoding="utf-8")
    printed = (world / "printed.txt").read_text()
    assert OPTIMISTIC in printed and "accuracy (95 % interval) (validation images)" in printed


def test_dvc_shows_and_draws_it(world):
    metrics = json.loads(call("dvc", "metrics", "show", "--json", cwd=world).stdout)
    assert metrics[""]["data"]["metrics/accuracy.json"]["data"]["split"] == "validation"
    shown = json.loads(call("dvc", "plots", "show", "--json", cwd=world).stdout)
    assert not shown.get("errors")
    assert "ROC on the scored images" in shown["data"]


def test_exported_files_are_compared_on_validation_images(world):
    call("dvc", "repro", "deploy/dvc.yaml", cwd=world)
    exported = json.loads((world / "deploy/export/export.json").read_text())
    assert exported["split"] == "validation"
    assert [each["equal_labels"] for each in exported["files"]] == [1]


def test_shards_of_no_image_are_an_index_without_shards(world):
    scores = (world / "data/evaluation/neighbours/scores.json").read_bytes()
    (world / "shards").mkdir()
    set_param(world, "resources.shards_url", str(world / "shards"))
    set_param(world, "arrays.shard_rows", 4)
    set_param(world, "arrays.format", "shards")
    ran = repro(world, "evaluate@neighbours").stages
    assert ran == ["decode", "extract", "train_neighbours", "evaluate@neighbours"]
    for name in ("images/test/images", "features/test/features", "features/test/cut"):
        index = json.loads((world / f"data/{name}.shards").read_text())
        assert (index["leading"], index["shards"]) == ([0], [])
    assert (world / "data/evaluation/neighbours/scores.json").read_bytes() == scores
