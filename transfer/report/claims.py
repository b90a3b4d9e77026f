"""Sentences that claim what the results show about the models, and no more."""

from collections.abc import Iterable
from typing import NamedTuple

import pandas as pd

from transfer.classifiers.names import PROBE
from transfer.dataset.scored_split import TEST, cautions
from transfer.report.formatting import (
    count,
    interval,
    is_number,
    listed,
    number,
    percent,
    plural,
    shorten,
)
from transfer.report.results import REQUIRED_METRICS, ModelResults, Results

NO_DIFFERENCE = "no difference"  # how the verdict of such a pair begins
ONE_SEED = (
    "Each model was trained once, from one seed. The intervals say how far other {split} images of "
    "the same kind could move a number, not what another seed would do, nor how the models fare "
    "on pictures of another kind."
)
# scored images; with fewer the interval is some 35 points wide or more, whatever the accuracy
FEW = 30


def claims(results: Results) -> list[str]:
    """What can be claimed about the models, one sentence per claim, the most important first."""
    return [
        _best(results.models),
        *cautions(results.split),
        *_too_few(results.models),
        *_against_guessing(results),
        *_worth_training(results.comparison),
        *_differences(results.comparison),
        ONE_SEED.format(split=results.split),
    ]


def most_frequent(predictions: pd.DataFrame) -> tuple[str, float, bool]:
    """The class that most images (at least one) have; its share, which is what always answering
    that class would reach; and whether no other class has as many."""
    counts = (
        predictions["actual"]
        .value_counts()
        .sort_index()
        .sort_values(ascending=False, kind="stable")
    )
    alone = int((counts == counts.iloc[0]).sum()) == 1
    return counts.index[0], counts.iloc[0] / len(predictions), alone


def _scored(models: list[ModelResults]) -> list[ModelResults]:
    """The models whose accuracy is a number."""
    return [
        model for model in models if all(is_number(model.metrics[key]) for key in REQUIRED_METRICS)
    ]


def _best(models: list[ModelResults]) -> str:
    scored = _scored(models)
    if not scored:
        return f"The accuracy cannot be given: {number(models[0].metrics['accuracy'])}."
    most = max(model.metrics["accuracy"] for model in scored)
    best = [model for model in scored if model.metrics["accuracy"] == most]
    n, right = int(best[0].metrics["n"]), round(most * best[0].metrics["n"])
    scores = best[0].metrics
    names = listed([model.name for model in best])
    did = (
        f"{names} did best: {count(right)} right"
        if len(best) == 1
        else f"{names} each got {count(right)} right"
    )
    if 1 < len(best) < len(scored):
        did += ", the most of all"
    sure = interval(scores["accuracy_low"], scores["accuracy_high"])
    unused = " or in any choice" if best[0].split == TEST else ""
    return (
        f"On {plural(n, f'{best[0].split} image')} that took no part in training{unused}, {did} "
        f"({percent(most)}; 95\N{NO-BREAK SPACE}% interval {sure})."
    )


def _against_guessing(results: Results) -> list[str]:
    scored = _scored(results.models)
    if not scored or results.models[0].predictions.empty:
        return []
    name, share, alone = most_frequent(results.models[0].predictions)
    always = (
        f"Always answering “{shorten(name, 40)}”, "
        f"{'the most frequent class there' if alone else 'than which no class is more frequent'}, "
        f"would reach {percent(share)}"
    )
    above = [model.name for model in scored if model.metrics["accuracy_low"] > share]
    if len(above) == len(scored):
        return [f"{always}; the whole interval of every model lies above that."]
    if above:
        return [f"{always}; of {listed(above)} alone the whole interval lies above that."]
    return [f"{always}: no model has been shown to do better than that."]


def _by_finding(rows: Iterable[NamedTuple]) -> tuple[list, list]:
    """Of rows of the comparison, those that show a difference and those that show none."""
    different, same = [], []
    for row in rows:
        (same if row.verdict.startswith(NO_DIFFERENCE) else different).append(row)
    return different, same


def _worth_training(comparison: pd.DataFrame) -> list[str]:
    """Whether the head, which learns by itself from the frozen features, beats the probe."""
    rows = [row for row in comparison.itertuples() if {row.model, row.against} == {"head", PROBE}]
    if not rows:
        return []
    row = rows[0]
    if row.verdict.startswith(NO_DIFFERENCE):
        return [
            "That training a head was worth it has not been shown: nothing tells its accuracy from "
            "that of a linear probe on the same features, which is fitted in seconds."
        ]
    if (row.difference > 0) == (row.model == "head"):
        return ["Training a head was worth it: it beats a linear probe on the same features."]
    return ["Training a head was not worth it: a linear probe on the same features beats it."]


def _differences(comparison: pd.DataFrame) -> list[str]:
    """The pairs of models grouped by whether a difference can be shown."""
    different, same = _by_finding(comparison.itertuples())
    sentences = [f"{row.model} against {row.against}: {row.verdict}." for row in different]
    if same and not different:
        names = list(dict.fromkeys(name for row in same for name in (row.against, row.model)))
        sentences.append(
            f"No difference in accuracy can be shown between {listed(names)}: they are not to be "
            "ranked by these numbers."
        )
    elif same:
        against = {row.model: [] for row in same}
        for row in same:
            against[row.model].append(row.against)
        pairs = [f"between {name} and {' or '.join(others)}" for name, others in against.items()]
        sentences.append(f"No difference can be shown {listed(pairs)}.")
    return sentences


def _too_few(models: list[ModelResults]) -> list[str]:
    n, noun = models[0].metrics["n"], f"{models[0].split} image"
    return (
        [f"{plural(int(n), noun)} cannot carry a conclusion, whatever the numbers say."]
        if is_number(n) and n < FEW
        else []
    )


def verdicts(comparison: pd.DataFrame, name: str) -> list[str]:
    """What the comparison says about one model, one phrase per finding; pairs without a finding
    share a phrase."""
    different, same = _by_finding(
        row for row in comparison.itertuples() if name in (row.model, row.against)
    )
    phrases = [f"{row.model} against {row.against}: {row.verdict}" for row in different]
    if same:
        others = [row.against if row.model == name else row.model for row in same]
        phrases.append(f"no difference from {listed(others)} can be shown")
    return phrases
