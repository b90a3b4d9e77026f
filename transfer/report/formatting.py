"""Results in plain language: numbers as people read them, and sentences that claim what can be
claimed and no more."""

import math
import re
from collections.abc import Sequence
from numbers import Real

import pandas as pd

from transfer.classifiers.names import PROBE
from transfer.dataset.scored_split import TEST, cautions
from transfer.report.results import ModelResults, Results, Value

UNSHOWABLE = "[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
NO_DIFFERENCE = "no difference"  # how the verdict of such a pair begins
ONE_SEED = (
    "Each model was trained once, from one seed. The intervals say how far other {split} images of "
    "the same kind could move a number, not what another seed would do, nor how the models fare "
    "on pictures of another kind."
)
# scored images; with fewer the interval is some 35 points wide or more, whatever the accuracy
FEW = 30


def number(value: Value | None, digits: int = 3) -> str:
    """A number with this many decimals; text unchanged; None as a dash."""
    if value is None or value == "":
        return "–"
    if isinstance(value, str):
        return value
    if not math.isfinite(value):
        return "not defined"
    return f"{value:.{digits}f}".replace("-", "−")


def count(value: Value) -> str:
    """A whole number with commas; text unchanged."""
    return f"{value:,.0f}" if is_number(value) else number(value)


def percent(value: Value) -> str:
    return f"{100 * value:.1f}\N{NO-BREAK SPACE}%" if is_number(value) else number(value)


def points(value: Value) -> str:
    """A difference of two fractions in percentage points, with its sign."""
    return f"{100 * value:+.1f}".replace("-", "−") if is_number(value) else number(value)


def is_number(value: object) -> bool:
    """Whether a value is a finite number, Python's or NumPy's; text is not."""
    return isinstance(value, Real) and math.isfinite(value)


def visible(text: str) -> str:
    """Text on one line; what no file can hold, or what turns the text around it, becomes U+FFFD.

    That is control characters, halves of characters, and the controls that embed or override a
    direction of writing.
    """
    return re.sub(UNSHOWABLE, "\ufffd", re.sub(r"[\t\n\r\u2028\u2029]+", " ", text))


def shorten(text: str, most: int = 24) -> str:
    """Visible text of at most `most` characters, its middle left out:
    both ends tell names apart."""
    text, half = visible(text), (most - 1) // 2
    return text if len(text) <= most else f"{text[:half]}…{text[-half:]}"


def listed(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def plural(n: int, noun: str) -> str:
    return f"{n:,} {noun if n == 1 else noun + ('es' if noun.endswith('ss') else 's')}"


def interval(low: Value, high: Value) -> str:
    return (
        f"{percent(low)} to {percent(high)}" if is_number(low) and is_number(high) else number(low)
    )


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
    return [
        model
        for model in models
        if all(
            is_number(model.metrics[key])
            for key in ("n", "accuracy", "accuracy_low", "accuracy_high")
        )
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
    rows = list(comparison.itertuples())
    same = [row for row in rows if row.verdict.startswith(NO_DIFFERENCE)]
    other = [row for row in rows if not row.verdict.startswith(NO_DIFFERENCE)]
    sentences = [f"{row.model} against {row.against}: {row.verdict}." for row in other]
    if same and not other:
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
    rows = [row for row in comparison.itertuples() if name in (row.model, row.against)]
    same = [
        row.against if row.model == name else row.model
        for row in rows
        if row.verdict.startswith(NO_DIFFERENCE)
    ]
    other = [
        f"{row.model} against {row.against}: {row.verdict}"
        for row in rows
        if not row.verdict.startswith(NO_DIFFERENCE)
    ]
    return [*other, *([f"no difference from {listed(same)} can be shown"] if same else [])]
