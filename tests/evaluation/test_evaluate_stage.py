"""What `evaluate` refuses, and that what it chooses comes from validation."""

import contextlib
import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from stages.evaluate import (
    SplitPredictions,
    calibrate,
    calibrated_scores,
    check_test_rows,
    logits_of,
    predict_split,
    write_mistakes,
    write_results,
)
from transfer.classifiers.neighbours import Neighbours, unit_length
from transfer.dataset.examples import Examples
from transfer.evaluation.calibration import Calibration
from transfer.evaluation.evaluated_model import EvaluatedModel, nearest_images
from transfer.runtime.errors import PipelineError
from transfer.storage.array_paths import inputs_path
from transfer.storage.params import Shards


def model(scale: float, n_classes: int = 2, name: str = "finetuned") -> EvaluatedModel:
    """One whose logits are the features' sum times `scale`."""
    n_logits = 1 if n_classes == 2 else n_classes
    return EvaluatedModel(
        name,
        "features",
        [f"class {i}" for i in range(n_classes)],
        lambda inputs: np.repeat(scale * inputs.sum(axis=(1, 2, 3))[:, None], n_logits, axis=1),
        lambda rows, labels: [np.full((4, 4, 3), label, np.uint8) for label in labels],
    )


def examples(*sums: float, labels: list[int]) -> Examples:
    return Examples(
        np.array(sums, dtype=np.float32).reshape(-1, 1, 1, 1) * [0.5, 0.5], np.array(labels)
    )


def test_a_model_whose_logits_are_not_finite_is_refused():
    with pytest.raises(PipelineError) as error:
        logits_of(model(np.nan), examples(1, 2, 3, labels=[0, 1, 1]))
    assert str(error.value) == (
        "finetuned: 3 of 3 images get no finite logit; lower its learning_rate and run `dvc repro`"
    )


def test_a_baseline_without_a_finite_logit_has_no_learning_rate_to_lower():
    with pytest.raises(PipelineError, match="1 of 1 images get no finite logit; delete data/feat"):
        logits_of(model(np.nan, name="probe"), examples(1, labels=[0]))


def test_a_model_of_other_classes_than_the_manifests_is_refused():
    manifest = pd.DataFrame({"class_name": ["cat", "dog"]})
    with pytest.raises(
        PipelineError,
        match=(
            r"the model knows \['class 0', 'class 1'\], the manifest \['cat', 'dog'\]; run `dvc "
            r"repro`"
        ),
    ):
        predict_split(model(1), manifest, "test", Shards())


def manifest_of(*splits: str) -> pd.DataFrame:
    """Two images in each of the splits, one of each class."""
    rows = [(split, f"{split}/{label}.png", label) for split in splits for label in (0, 1)]
    table = pd.DataFrame(rows, columns=["split", "path", "label"])
    return table.assign(class_name=[f"class {label}" for label in table["label"]])


def write_features(split: str, *sums: float) -> None:
    path = inputs_path(split, "features").with_suffix(".npy")
    path.parent.mkdir(parents=True)
    np.save(path, examples(*sums, labels=[]).inputs)


def test_validation_is_predicted_and_named_where_it_is_scored(project):
    manifest = manifest_of("train", "validation")
    write_features("validation", -1, 1)
    found = predict_split(model(1), manifest, "validation", Shards())
    assert found.probabilities.argmax(axis=1).tolist() == [0, 1]
    rows = manifest[manifest["split"] == "validation"].iloc[:1]
    one = SplitPredictions(found.probabilities[:1], found.calibrated[:1], found.calibration)
    folder = project / "data/evaluation/finetuned"
    for split, columns in (("validation", ["split"]), ("test", [])):
        write_results("finetuned", one, rows, model(1).class_names, split)
        scores = json.loads((folder / "scores.json").read_text())
        assert scores.get("split") == (columns and split or None)
        assert scores["roc_auc"] == f"not defined: no {split} image of class 1"
        for name in ("classes", "predictions", "reliability", "roc", "precision_recall"):
            table = pd.read_csv(folder / f"{name}.csv")
            assert [column for column in table if column == "split"] == columns
            assert (table[columns] == split).all(axis=None)
        assert pd.read_csv(folder / "classes.csv").loc[1, "recall"] == f"no {split} image"


@pytest.mark.parametrize("n", [0, 2])
def test_a_manifest_that_lost_its_test_rows_is_refused(project, n):
    path = inputs_path("test", "images").with_suffix(".npy")
    path.parent.mkdir(parents=True)
    np.save(path, np.zeros((n, 4, 4, 3), np.uint8))
    lost = pytest.raises(PipelineError, match="test/images.npy has 2 rows, the manifest has 0")
    with lost if n else contextlib.nullcontext():
        check_test_rows(manifest_of("train", "validation"), Shards())


def test_a_model_that_is_too_sure_gets_a_temperature_above_one_and_a_threshold():
    found = calibrate(model(4), examples(0, 1, 1, 1, 2, labels=[0, 0, 1, 1, 1]))
    assert found.temperature > 1
    assert 0.5 < found.threshold < 1


def test_more_than_two_classes_have_no_threshold():
    assert calibrate(model(1, n_classes=3), examples(0, 1, 2, labels=[0, 1, 2])).threshold is None
    found = SplitPredictions(np.eye(3), np.eye(3), Calibration(1.0, None))
    assert list(calibrated_scores(np.arange(3), found)) == [
        "temperature",
        "log_loss_calibrated",
        "brier_calibrated",
        "ece_calibrated",
    ]


def test_the_threshold_and_not_a_half_decides_which_label_is_scored():
    chances = np.array([[0.45, 0.55], [0.3, 0.7]])
    scores = calibrated_scores(
        np.array([0, 1]), SplitPredictions(chances, chances, Calibration(1.0, 0.6))
    )
    assert scores["accuracy_at_threshold"] == 1


def test_what_speaks_for_a_class_to_the_neighbours_is_its_nearest_training_image():
    features = np.array([[1, 0.1], [0.9, 0.3], [0.1, 1], [0.3, 0.9]], np.float32)[:, None, None]
    neighbours = Neighbours(
        unit_length(features[:, 0, 0]),
        np.array([0, 0, 1, 1]),
        np.ones(4, np.float32),
        3,
        (1, 1, 2),
        ["a", "b"],
    )
    images = np.arange(4, dtype=np.uint8)[:, None, None, None].repeat(3, axis=-1)
    found = nearest_images(neighbours, images, features[[0, 0]], np.array([0, 1]))
    assert [int(image.max()) for image in found] == [0, 3]


def test_each_mistake_is_shown_beside_what_spoke_for_the_wrong_class(project):
    test = pd.DataFrame(
        {"path": ["a.png", "b.png"], "class_name": ["class 0", "class 1"], "label": [0, 1]}
    )
    chances = np.array([[0.2, 0.8], [0.1, 0.9]])
    write_mistakes(
        model(1, name="neighbours"), np.full((2, 4, 4, 3), 9, np.uint8), chances, test, 5, "test"
    )
    folder = project / "data/evaluation/neighbours"
    table = pd.read_csv(folder / "mistakes.csv")
    assert table[["path", "predicted"]].to_numpy().tolist() == [["a.png", "class 1"]]
    with Image.open(folder / "mistakes" / table["file"][0]) as picture:
        pixels = np.asarray(picture)
    assert pixels.shape == (4, 8, 3)
    assert (pixels[:, :4] == 9).all() and (pixels[:, 4:] == 1).all()
