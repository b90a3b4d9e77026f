"""The report's tables: results as rows of text, limited to what a person reads, with a sentence on
what was left out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from transfer.dataset.manifest import SPLITS, UNUSED
from transfer.dataset.scored_split import title_note
from transfer.report.claims import verdicts
from transfer.report.formatting import (
    count,
    evenly,
    interval,
    is_number,
    number,
    percent,
    plural,
    points,
    shorten,
)
from transfer.report.results import ModelResults, Results, Value
from transfer.runtime.params import flattened

MOST_ROWS = 40
MOST_CLASSES_IN_MATRIX = 12
MOST_NAMED_COLUMNS = 3
METRICS = {  # what is shown of metrics/evaluation.json, in this order
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy (mean recall of the classes)",
    "macro_f1": "Macro F1",
    "roc_auc": "Area under the ROC curve",
    "average_precision": "Average precision",
    "log_loss": "Log loss, as trained (nats)",
    "log_loss_calibrated": "Log loss, calibrated (nats)",
    "brier": "Brier score, as trained",
    "brier_calibrated": "Brier score, calibrated",
    "ece": "Calibration error (ECE), as trained",
    "ece_calibrated": "Calibration error (ECE), calibrated",
    "temperature": "Temperature of the calibration",
    "threshold": "Threshold chosen on validation",
    "accuracy_at_threshold": "Accuracy at that threshold",
}


@dataclass(frozen=True)
class Table:
    """A table whose first column names its rows.

    text: the indexes of columns with text, which are aligned left; the others hold numbers.
        left_out: what is not shown, if anything.
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    text: frozenset[int] = frozenset({0})
    left_out: str = ""


@dataclass(frozen=True)
class Confusion:
    """Images by actual class (row) and predicted class (column): counts int (C, C), and each
    count's share of its row.

    numbered: columns are headed by numbers, because so many names would not fit.
    """

    caption: str
    names: list[str]
    counts: list[list[int]]
    shares: list[list[float]]
    numbered: bool


def model_table(results: Results) -> Table:
    """The models with their descriptions: one row per model."""
    rows = []
    for model in results.models:
        scores = model.metrics
        words = "; ".join(verdicts(results.comparison, model.name))
        rows.append(
            [
                model.name,
                percent(scores["accuracy"]),
                interval(scores["accuracy_low"], scores["accuracy_high"]),
                words[:1].upper() + words[1:] if words else "Not compared",
                *(
                    number(scores.get(key))
                    for key in ("balanced_accuracy", "macro_f1", "roc_auc", "log_loss_calibrated")
                ),
            ]
        )
    columns = (
        "Model",
        "Accuracy",
        "95 % interval",
        "In words",
        "Balanced accuracy",
        "Macro F1",
        "ROC AUC",
        "Log loss, calibrated",
    )
    return Table(f"The models on {scored_images(results)}", columns, rows, text=frozenset({0, 3}))


def scored_images(results: Results) -> str:
    """The images that the scores are of, with their number: `180 test images`."""
    n, noun = results.models[0].metrics["n"], f"{results.split} image"
    return plural(int(n), noun) if is_number(n) else f"the {noun}s"


def metric_table(models: Sequence[ModelResults]) -> Table:
    """Every metric that some model has: one row per metric, one column per model; those that this
    module does not know come last, under their names."""
    known = {"n", "accuracy_low", "accuracy_high"} | set(METRICS)
    keys = [
        *METRICS,
        *dict.fromkeys(key for model in models for key in model.metrics if key not in known),
    ]
    present = [key for key in keys if any(key in model.metrics for model in models)]
    rows = [
        [
            METRICS.get(key, key.replace("_", " ")),
            *(number(model.metrics.get(key)) for model in models),
        ]
        for key in present
    ]
    caption = f"Every metric{title_note(models[0].split)}"
    return Table(caption, ["Metric", *(model.name for model in models)], rows)


def comparison_table(comparison: pd.DataFrame) -> Table:
    rows = [
        [
            f"{row.model} against {row.against}",
            row.verdict,
            points(row.difference),
            f"{points(row.difference_low)} to {points(row.difference_high)}"
            if is_number(row.difference_low)
            else "–",
            count(row.only_model_right),
            count(row.only_against_right),
            row.method,
            number(row.p),
            number(row.p_holm),
        ]
        for row in comparison.itertuples()
    ]
    right = ("Only the first right", "Only the second right")
    columns = (
        "Pair",
        "In words",
        "Difference, points",
        "95 % interval",
        *right,
        "Test",
        "p",
        "p, Holm",
    )
    return Table("Each pair of models on the same images", columns, rows, text=frozenset({0, 1, 6}))


def class_counts(manifest: pd.DataFrame) -> Table:
    """Images by class and split, the largest classes first;
    of many classes the largest and the smallest."""
    splits = [split for split in (*SPLITS, UNUSED) if (manifest["split"] == split).any()]
    counts = pd.crosstab(manifest["class_name"], manifest["split"])[splits]
    counts = counts.assign(total=counts.sum(axis=1)).sort_values(
        "total", ascending=False, kind="stable"
    )
    shown = (
        counts
        if len(counts) <= MOST_ROWS
        else pd.concat([counts.head(MOST_ROWS // 2), counts.tail(MOST_ROWS // 2)])
    )
    rows = [
        [str(name), *map(count, row)]
        for name, row in zip(shown.index, shown.to_numpy(), strict=True)
    ]
    rows.append([f"All {plural(len(counts), 'class')}", *map(count, counts.sum().to_numpy())])
    left = len(counts) - len(shown)
    left_out = (
        f"{plural(left, 'class')} between the largest and the smallest are left out; "
        "data/manifest has all."
        if left
        else ""
    )
    return Table("Images by class and split", ["Class", *splits, "all"], rows, left_out=left_out)


def class_scores(model: ModelResults) -> Table:
    """Precision, recall and F1 per class; of many classes those with the lowest F1."""
    shown, left_out = model.classes, ""
    if len(shown) > MOST_ROWS:
        shown = shown.loc[_lowest_first(shown["f1"])[:MOST_ROWS]]
        left_out = (
            f"The {MOST_ROWS} classes with the lowest F1; plots/classes.csv has all "
            f"{len(model.classes):,}."
        )
    rows = [
        [
            row.class_name,
            *(number(value, 2) for value in (row.precision, row.recall, row.f1)),
            count(row.support),
        ]
        for row in shown.itertuples()
    ]
    columns = ("Class", "Precision", "Recall", "F1", "Images")
    return Table(f"Scores by class{title_note(model.split)}", columns, rows, left_out=left_out)


def _lowest_first(values: pd.Series) -> pd.Index:
    """The index of numbers or words, by the numbers; words come last."""
    return pd.to_numeric(values, errors="coerce").sort_values(kind="stable").index


def confusion(model: ModelResults) -> Confusion | Table:
    """The matrix, or for more than MOST_CLASSES_IN_MATRIX classes a table
    of the pairs most often confused."""
    table = model.predictions
    if len(model.class_names) <= MOST_CLASSES_IN_MATRIX:
        counts = pd.crosstab(table["actual"], table["predicted"]).reindex(
            index=model.class_names, columns=model.class_names, fill_value=0
        )
        shares = counts.div(counts.sum(axis=1).clip(lower=1), axis=0)
        names = [shorten(name) for name in model.class_names]
        many = len(names) > MOST_NAMED_COLUMNS
        return Confusion(
            f"Images by actual and predicted class{title_note(model.split)}",
            names,
            counts.to_numpy().tolist(),
            shares.to_numpy().tolist(),
            many,
        )
    wrong = table[table["actual"] != table["predicted"]]
    pairs = (
        wrong.groupby(["actual", "predicted"]).size().sort_values(ascending=False, kind="stable")
    )
    rows = [
        [actual, predicted, count(n)]
        for (actual, predicted), n in pairs.head(MOST_ROWS // 2).items()
    ]
    left_out = (
        f"{plural(len(model.class_names), 'class')} make too large a matrix to read: these are the "
        "most frequent of "
    )
    left_out += f"{plural(len(pairs), 'confused pair')}; plots/predictions.csv has every image."
    return Table(
        f"The classes most often confused{title_note(model.split)}",
        ("Actual", "Taken for", "Images"),
        rows,
        text=frozenset({0, 1}),
        left_out=left_out,
    )


def rejected_table(rejected: pd.DataFrame) -> Table:
    shown = rejected[["path", "reason"]].head(MOST_ROWS)
    return _excerpt(
        "Files that could not be used",
        ("File", "Why"),
        shown.to_numpy().tolist(),
        len(rejected),
        "data/split/rejected.csv",
        frozenset({0, 1}),
    )


def issue_table(issues: pd.DataFrame) -> Table:
    """What the audit found, the worst score first."""
    shown = issues.loc[_lowest_first(issues["score"])[:MOST_ROWS]]
    rows = [
        [
            row.path,
            row.issue.replace("_", " "),
            row.class_name,
            row.split,
            number(row.score, 2),
            row.detail,
        ]
        for row in shown.itertuples()
    ]
    return _excerpt(
        "What the audit found, the worst first",
        ("Image", "Issue", "Class", "Split", "Score", "Detail"),
        rows,
        len(issues),
        "data/audit/issues.csv",
        frozenset({0, 1, 2, 3, 5}),
    )


def _excerpt(
    caption: str,
    columns: Sequence[str],
    rows: list[list[str]],
    total: int,
    file: str,
    text: frozenset[int],
) -> Table:
    """A table of the first of `total` rows, with shortened cells; it says where the others are."""
    left = total - len(rows)
    return Table(
        caption,
        columns,
        [[shorten(cell, 120) for cell in row] for row in rows],
        text,
        f"{plural(left, 'more row')} in {file}." if left else "",
    )


def audit_counts(audit: dict[str, Value]) -> Table:
    rows = [[name.replace("_", " "), count(value)] for name, value in audit.items()]
    return Table("The audit in numbers", ("What", "How many"), rows)


def point_table(
    caption: str, columns: Sequence[str], curves: dict[str, pd.DataFrame], file: str
) -> Table:
    """Points of curves: one row per point, with the curve's name in front; if a curve has many
    points, a regular selection of them."""
    most = max(2, 2 * MOST_ROWS // max(1, len(curves)))
    rows = [
        [name, *(value if isinstance(value, str) else number(value) for value in point)]
        for name, curve in curves.items()
        for point in curve.iloc[evenly(len(curve), most)].itertuples(index=False)
    ]
    left_out = ""
    if any(len(curve) > most for curve in curves.values()):
        left_out = f"At most {most} points of each curve, evenly chosen; {file} has all."
    return Table(caption, columns, rows, left_out=left_out)


def parameter_tables(params: dict[str, dict]) -> list[Table]:
    """One table per section of params.yaml."""
    return [
        Table(
            section,
            ("Parameter", "Value"),
            [[key, parameter(value)] for key, value in flattened(values).items()],
            text=frozenset({0, 1}),
        )
        for section, values in params.items()
    ]


def parameter(value: object) -> str:
    """A value as one would write it in params.yaml; small numbers without exponent."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return np.format_float_positional(value, trim="-") if isinstance(value, float) else str(value)
