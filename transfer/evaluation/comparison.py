"""Which of two models is better on the same images, and whether the data can show it."""

from collections.abc import Collection, Mapping
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.stats import bootstrap, permutation_test
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from transfer.evaluation.conventions import CONFIDENCE, DECIMALS

# SciPy's default; with it an interval's ends vary in the third decimal between seeds
RESAMPLES = 9999
AT_ONCE = 10_000_000  # resampled numbers in memory


def compare(
    is_right: Mapping[str, np.ndarray],
    groups: np.ndarray,
    seed: int,
    baselines: Collection[str] = (),
) -> pd.DataFrame:
    """One row per pair of models, the later one first.

    Columns: model, against; difference of their accuracies with its 95 % interval, difference_low
    and difference_high (paired bootstrap, percentiles); only_model_right and only_against_right, in
    images; mcnemar_p, exact; method, the test that `p` is of: McNemar's, or sign flips if images
    come in groups, because copies and near-copies are not independent; p_holm, corrected for the
    number of pairs (Holm), separately for pairs with a baseline and for the others; verdict, in
    words.

    Args:
        is_right: by model, in the order of the pipeline, whether each image was labelled rightly,
            bool (N,).
        groups: int (N,), equal for images that belong together. The bootstrap draws groups.
        baselines: models of which the only question is whether others beat them. How many there are
            does not change what is said of the others.
    """
    single = len(np.unique(groups)) == len(groups)
    rows = []
    for against, model in combinations(is_right, 2):
        gain = is_right[model].astype(int) - is_right[against]
        sums, sizes = (
            np.bincount(_numbered(groups), gain).astype(int),
            np.bincount(_numbered(groups)),
        )
        low, high = interval(sums, sizes, seed)
        mcnemar_p = exact_mcnemar(gain)
        rows.append(
            {
                "model": model,
                "against": against,
                "difference": gain.mean(),
                "difference_low": low,
                "difference_high": high,
                "only_model_right": int((gain > 0).sum()),
                "only_against_right": int((gain < 0).sum()),
                "mcnemar_p": mcnemar_p,
                "method": "exact McNemar" if single else "sign flips by group",
                "p": mcnemar_p if single else sign_flips(sums, seed),
            }
        )
    table = pd.DataFrame(rows)
    with_baseline = table[["model", "against"]].isin([*baselines]).any(axis=1)
    table["p_holm"] = table.groupby(with_baseline)["p"].transform(
        lambda p: multipletests(p, method="holm")[1]
    )
    table["verdict"] = [verdict(row.difference, row.p_holm) for row in table.itertuples()]
    return table.round(DECIMALS)


def _numbered(groups: np.ndarray) -> np.ndarray:
    return np.unique(groups, return_inverse=True)[1]


def exact_mcnemar(gain: np.ndarray) -> float:
    """Exact p of McNemar's test (statsmodels): 1 if one model is right and the other wrong, -1 the
    other way round, otherwise 0."""
    return float(mcnemar([[0, (gain > 0).sum()], [(gain < 0).sum(), 0]], exact=True).pvalue)


def sign_flips(sums: np.ndarray, seed: int) -> float:
    """The probability that the groups' gains (G,) would be at least as far from 0 if each gain were
    equally likely for either model; exact up to 13 groups."""
    told = sums[sums != 0].astype(float)  # a gain of 0 has no sign
    if len(told) < 2:
        return 1.0  # one may be on either side
    batch = max(1, AT_ONCE // len(told))
    rng = np.random.default_rng(seed)
    return float(
        permutation_test(
            (told,), np.sum, permutation_type="samples", n_resamples=RESAMPLES, batch=batch, rng=rng
        ).pvalue
    )


def interval(sums: np.ndarray, sizes: np.ndarray, seed: int) -> tuple[float, float]:
    """Bootstrap interval of the mean gain per image: groups are drawn with replacement, each with
    all its images.

    Args:
        sums: gain of each group, int (G,).
        sizes: images of each group, int (G,).
    """
    if len(sums) == 1:
        return -1.0, 1.0  # one group says nothing about the variation between groups
    batch = max(1, AT_ONCE // len(sums))
    drawn = bootstrap(
        (sums, sizes),
        lambda gains, counts, axis: gains.sum(axis=axis) / counts.sum(axis=axis),
        paired=True,
        vectorized=True,
        n_resamples=RESAMPLES,
        batch=batch,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    return float(drawn.confidence_interval.low), float(drawn.confidence_interval.high)


def verdict(difference: float, p: float) -> str:
    if p > 1 - CONFIDENCE:
        return f"no difference can be shown, p = {p:.2g}"
    return f"{'better' if difference > 0 else 'worse'}, p = {p:.2g}"
