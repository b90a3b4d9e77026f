"""Scores against values worked out by hand or by another library, and the picture of mistakes."""

import numpy as np
import pytest
from PIL import Image
from scipy.stats import binomtest

from transfer.classifier import probabilities
from transfer.mistakes import draw_mistakes, shorten
from transfer.scores import roc, score

BINARY = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.7, 0.3]])
LABELS = np.array([0, 0, 1, 1])


def test_binary_scores_are_those_worked_out_by_hand():
    found = score(LABELS, BINARY)
    assert found["accuracy"] == 0.5
    assert found["n"] == 4
    assert found["log_loss"] == pytest.approx(-np.log([0.9, 0.4, 0.8, 0.3]).mean(), abs=1e-6)
    assert found["macro_f1"] == 0.5
    assert found["roc_auc"] == 0.75  # three of the four pairs of one image a class are in the right order


@pytest.mark.parametrize(("n_correct", "n"), [(0, 6), (5, 6), (160, 180), (180, 180)])
def test_the_interval_is_wilsons(n_correct, n):
    labels = np.append(np.zeros(n - 1, dtype=int), 1)
    predicted = np.where(np.arange(n) < n_correct, labels, 1 - labels)
    found = score(labels, np.eye(2)[predicted] * 0.8 + 0.1)
    expected = binomtest(n_correct, n).proportion_ci(method="wilson")
    assert (found["accuracy_low"], found["accuracy_high"]) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_three_classes_are_scored_one_against_the_rest():
    labels = np.array([0, 1, 2, 0, 1, 2])
    right = np.eye(3)[labels] * 0.7 + 0.1
    assert score(labels, right)["roc_auc"] == score(labels, right)["accuracy"] == score(labels, right)["macro_f1"] == 1
    assert score(labels, np.roll(right, 1, axis=0))["accuracy"] == 0


def test_the_roc_curve_runs_from_corner_to_corner_and_holds_the_area():
    curve = roc(LABELS, BINARY)
    assert curve.iloc[0].tolist() == [0, 0]
    assert curve.iloc[-1].tolist() == [1, 1]
    area = np.trapezoid(curve["true_positive_rate"], curve["false_positive_rate"])
    assert area == score(LABELS, BINARY)["roc_auc"]


def test_logits_become_probabilities_that_add_up_to_one():
    one = probabilities(np.array([[0.0], [1000.0], [-1000.0]], dtype=np.float32))
    assert one.tolist() == [[0.5, 0.5], [0, 1], [1, 0]]
    many = probabilities(np.array([[1.0, 2.0, 3.0], [1000.0, 0.0, 0.0]], dtype=np.float32))
    assert many.sum(axis=1) == pytest.approx(1)
    assert many.argmax(axis=1).tolist() == [2, 0]


def draw_sheet(path, n_wrong: int, most: int = 24) -> int:
    """Draw the mistakes of a made-up classifier; the height of the picture."""
    n = 40
    labels = np.arange(n) % 2
    predicted = np.where(np.arange(n) < n_wrong, 1 - labels, labels)
    images = np.full((n, 8, 8, 3), 128, dtype=np.uint8)
    names = [f"image_of_a_rather_long_name_{i}.jpg" for i in range(n)]
    draw_mistakes(path, "head", images, names, labels, np.eye(2)[predicted] * 0.8 + 0.1, ["cat", "dog"], most)
    with Image.open(path) as image:
        return image.height


def test_the_sheet_of_mistakes_grows_with_them_up_to_the_most_asked_for(tmp_path):
    heights = [draw_sheet(tmp_path / f"{n}.png", n) for n in (0, 3, 12, 24, 40)]
    assert heights[0] == heights[1] < heights[2] < heights[3] == heights[4]


def test_the_sheet_repeats_byte_for_byte(tmp_path):
    draw_sheet(tmp_path / "a.png", 5)
    draw_sheet(tmp_path / "b.png", 5)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_long_names_keep_both_ends():
    assert shorten("cat.jpg") == "cat.jpg"
    assert shorten("a" * 20 + "b" * 20) == "a" * 13 + "…" + "b" * 13
