"""Comparisons of models against published examples, another library,
and cases whose answer is known."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from transfer.evaluation.comparison import compare, exact_mcnemar, interval, sign_flips


def right(n: int, *wrong: int) -> np.ndarray:
    return ~np.isin(np.arange(n), wrong)


def test_mcnemars_p_is_that_of_the_published_example():
    """R's `mcnemar.exact` (package exact2x2) in its manual: 21 pairs one way, 9 the other,
    p = 0.04277."""
    gain = np.repeat([1, -1, 0], [21, 9, 40])
    assert exact_mcnemar(gain) == pytest.approx(0.04277, abs=5e-6)


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (1, 0), (5, 5), (9, 1), (13, 7)])
def test_mcnemars_p_is_a_binomial_one(gained, lost):
    gain = np.repeat([1, -1], [gained, lost])
    assert exact_mcnemar(gain) == pytest.approx(
        binomtest(gained, gained + lost).pvalue if gained + lost else 1
    )


def test_sign_flips_without_groups_are_mcnemars_test():
    gain = np.repeat([1, -1, 0], [9, 1, 5])
    assert sign_flips(gain, seed=0) == pytest.approx(exact_mcnemar(gain))


def test_sign_flips_of_groups_are_counted_out():
    sums = np.array([3, 2, 1, -1])
    flipped = [abs(np.dot(signs, sums)) for signs in product([1, -1], repeat=4)]
    assert sign_flips(sums, seed=0) == pytest.approx(
        np.mean([total >= abs(sums.sum()) for total in flipped])
    )
    assert sign_flips(np.zeros(5), seed=0) == 1


def test_with_many_images_the_interval_is_that_of_the_normal_distribution():
    gain = np.random.default_rng(0).choice([-1, 0, 1], size=2000, p=[0.05, 0.8, 0.15])
    low, high = interval(gain, np.ones_like(gain), seed=0)
    half = 1.96 * gain.std() / 2000**0.5
    assert (low, high) == pytest.approx((gain.mean() - half, gain.mean() + half), abs=0.002)


def test_copies_in_groups_do_not_narrow_the_interval():
    gain = np.random.default_rng(0).choice([-1, 0, 1], size=100, p=[0.1, 0.6, 0.3])
    once, copied = (
        interval(gain, np.ones_like(gain), seed=0),
        interval(gain * 5, np.full(100, 5), seed=0),
    )
    assert copied == pytest.approx(once)


def test_a_verdict_names_a_real_difference_and_no_other():
    n = 200
    models = {
        "head": right(n, *range(40)),
        "augmented": right(n, *range(39)),
        "finetuned": right(n, 0),
    }
    table = compare(models, np.arange(n), seed=0)
    assert table[["model", "against"]].to_numpy().tolist() == [
        ["augmented", "head"],
        ["finetuned", "head"],
        ["finetuned", "augmented"],
    ]
    assert table["verdict"].tolist()[0] == "no difference can be shown, p = 1"
    assert table["verdict"].str.startswith("better, p = ").tolist() == [False, True, True]
    assert (table["method"] == "exact McNemar").all()
    assert table["difference"].tolist() == [0.005, 0.195, 0.19]
    assert (table["p_holm"] >= table["p"]).all()
    worse = compare(dict(reversed(models.items())), np.arange(n), seed=0)
    assert worse["verdict"].str.startswith("worse, p = ").tolist() == [True, True, False]


def test_a_baseline_takes_nothing_from_what_is_said_of_the_others():
    n = 200
    models = {"head": right(n, *range(9)), "augmented": right(n, 0), "finetuned": right(n, 1)}
    alone = compare(models, np.arange(n), seed=0)
    table = compare(models | {"probe": right(n, *range(12))}, np.arange(n), 0, ["probe"])
    rows = table[table["model"] != "probe"].reset_index(drop=True)
    pd.testing.assert_frame_equal(rows, alone)
    added = table[table["model"] == "probe"]
    assert (added["p_holm"] > added["p"]).any()
    assert added["p_holm"].max() <= 3 * added["p"].max() + 1e-6


def test_images_in_groups_are_compared_by_group():
    """Twenty copies of one image that one model gets right are one observation, not twenty."""
    models = {"head": np.zeros(40, dtype=bool), "augmented": np.arange(40) < 20}
    row = compare(models, np.repeat([0, *range(1, 21)], [20, *[1] * 20]), seed=0).iloc[0]
    assert row["method"] == "sign flips by group"
    assert row["mcnemar_p"] < 0.001
    assert row["p"] == 1
    assert row["verdict"] == "no difference can be shown, p = 1"


@pytest.mark.parametrize("n", [1, 2])
def test_one_or_two_images_or_one_group_show_nothing(n):
    for groups in (np.arange(n), np.zeros(n, dtype=int)):
        row = compare(
            {"head": np.zeros(n, dtype=bool), "finetuned": np.ones(n, dtype=bool)}, groups, seed=0
        ).iloc[0]
        assert row["verdict"].startswith("no difference can be shown")
        assert row.notna().all()


def test_the_same_seed_gives_the_same_table():
    rng = np.random.default_rng(1)
    models = {"head": rng.random(50) < 0.7, "finetuned": rng.random(50) < 0.8}
    assert compare(models, np.arange(50) // 2, seed=3).equals(
        compare(models, np.arange(50) // 2, seed=3)
    )
