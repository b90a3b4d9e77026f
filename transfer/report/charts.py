"""The report's charts, each with a text that says in numbers what it shows, and with the table
behind it."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from transfer.dataset.scored_split import title_note
from transfer.report.claims import most_frequent
from transfer.report.formatting import (
    evenly,
    is_number,
    listed,
    number,
    percent,
    plural,
    shorten,
)
from transfer.report.results import ModelResults, Results
from transfer.report.svg import MARKERS, Axis, Series, intervals, lines, scatter
from transfer.report.tables import Table, point_table

UNIT = (-0.02, 1.02)
MOST_PLACES = 1500
DIAGONAL = ([0, 1], [0, 1])


@dataclass(frozen=True)
class Chart:
    """svg: the element, or empty if nothing could be drawn, which `says` then explains; how: how to
    read it."""

    title: str
    svg: str
    says: str
    how: str
    table: Table | None = None


def accuracy_chart(results: Results) -> Chart:
    title = f"Accuracy with its 95 % interval{title_note(results.split)}"
    table = results.accuracy[["model", "accuracy", "low", "high"]]
    rows = [row for row in table.itertuples(index=False, name=None) if all(map(is_number, row[1:]))]
    if not rows:
        return Chart(title, "", "No model has an accuracy to draw", "")
    how = (
        f"A dot is the share of {results.split} images that a model got right; the bar, where that "
        "share may lie for more images of the same kind."
    )
    guessing = None
    if len(predictions := results.models[0].predictions):
        name, guessing, _ = most_frequent(predictions)
        how += (
            f" The dotted line is what always answering “{shorten(name, 40)}” would reach, "
            f"{percent(guessing)}."
        )
    says = "; ".join(
        f"{model} {percent(value)}, interval {percent(low)} to {percent(high)}"
        for model, value, low, high in rows
    )
    least = min([low for _, _, low, _ in rows] + ([guessing] if guessing is not None else []))
    limits = (max(0.0, np.floor(10 * least - 0.3) / 10) - 0.02, 1.02)
    svg = intervals(
        "accuracy",
        f"{title}: {says}.",
        rows,
        Axis(f"accuracy on the {results.split} split", limits),
        [percent(value) for _, value, _, _ in rows],
        guessing,
    )
    cells = [[model, *map(percent, values)] for model, *values in rows]
    return Chart(title, svg, says, how, Table(title, ("Model", "Accuracy", "Low", "High"), cells))


def learning_curves(models: list[ModelResults]) -> list[Chart]:
    """Loss and accuracy by epoch, all models that have epochs in each; none if no model has."""
    if all(model.history.empty for model in models):
        return []
    values = np.concatenate(
        [model.history[["accuracy", "val_accuracy"]].to_numpy().ravel() for model in models]
    )
    limits = np.floor(10 * values[np.isfinite(values)].min(initial=1)) / 10 - 0.02, UNIT[1]
    return [
        _learning("loss", "Loss", " (nats)", None, models),
        _learning("accuracy", "Accuracy", "", limits, models),
    ]


def _learning(
    key: str, title: str, unit: str, limits: tuple[float, float] | None, models: list[ModelResults]
) -> Chart:
    title = f"{title} by epoch"
    series, highlights, said, curves = [], [], [], {}
    for place, model in enumerate(models):
        if model.history.empty:
            continue
        history = model.history[["epoch", key, f"val_{key}"]]
        epochs, training, validation = history.to_numpy().T
        series += [Series(epochs, validation, place), Series(epochs, training, place, dashed=True)]
        curves[model.name] = history.astype({"epoch": int}).astype({"epoch": str})
        if (kept := epochs == model.epoch).any():
            highlights.append((model.epoch, validation[kept][0], place))
            said.append(
                f"{model.name}: epoch {model.epoch} of {len(epochs)} was kept, {key} "
                f"{number(training[kept][0])} on training and "
                f"{number(validation[kept][0])} on validation images"
            )
    says = "; ".join(said)
    svg = lines(
        f"learning-{key}",
        f"{title}, {says}.",
        series,
        Axis("epoch", whole=True),
        Axis(f"{key}{unit}", limits),
        ["" if model.history.empty else model.name for model in models],
        ("validation", "training"),
        highlights=highlights,
    )
    how = (
        "Full lines: validation images; dashed: training images. A ring marks the epoch whose "
        "weights were kept."
    )
    columns = ("Model", "Epoch", "Training", "Validation")
    return Chart(title, svg, says, how, point_table(title, columns, curves, "plots/history.csv"))


def roc_chart(models: list[ModelResults]) -> Chart:
    how = (
        "How many of the positives are found (up) for how many false alarms (across), over all "
        "thresholds. The dotted line is guessing."
    )
    how += _positive(models[0])
    x, y = Axis("false positive rate", UNIT), Axis("true positive rate", UNIT)
    return _curves(
        "roc", "ROC curve", "roc_auc", "area under the curve", how, x, y, models, DIAGONAL
    )


def precision_recall_chart(models: list[ModelResults]) -> Chart:
    how = (
        "How many of those called positive are so (up), for how many of the positives are found "
        "(across)." + _positive(models[0])
    )
    x, y = Axis("recall", UNIT), Axis("precision", UNIT)
    return _curves(
        "precision_recall",
        "Precision and recall",
        "average_precision",
        "average precision",
        how,
        x,
        y,
        models,
        None,
    )


def _positive(model: ModelResults) -> str:
    if len(model.class_names) == 2:
        return f" Positive is “{shorten(model.class_names[1], 40)}”."
    return (
        " Every pair of an image and a class counts as one decision, and the numbers are those of "
        "these curves; those in the table of metrics are means over the classes."
    )


def _score(model: ModelResults, key: str, metric: str) -> object:
    """What belongs to a model's curve: for two classes `metric`, for more the same of the curve
    itself, since `metric` is then a mean over the classes and the curve is of all of them."""
    score, table = model.metrics.get(metric), getattr(model, key).dropna()
    if len(model.class_names) == 2 or not is_number(score) or table.empty:
        return score
    across, up = table.to_numpy(float).T
    steps = np.diff(across)
    return float(steps @ (up[1:] + up[:-1]) / 2 if key == "roc" else steps @ up[1:])


def _curves(
    key: str,
    title: str,
    metric: str,
    noun: str,
    how: str,
    x: Axis,
    y: Axis,
    models: list[ModelResults],
    reference: tuple | None,
) -> Chart:
    title += title_note(models[0].split)
    tables = {model.name: getattr(model, key) for model in models}
    scores = [_score(model, key, metric) for model in models]
    said = [f"{model.name} {number(score)}" for model, score in zip(models, scores, strict=True)]
    says = f"{noun[:1].upper()}{noun[1:]}: {', '.join(said)}"
    drawn = [(place, table.dropna()) for place, table in enumerate(tables.values())]
    series = [Series(*table.to_numpy().T, place) for place, table in drawn if len(table)]
    if not series:
        return Chart(title, "", says, "")
    labels = [
        f"{model.name} {number(score)}" if is_number(score) else model.name
        for model, score in zip(models, scores, strict=True)
    ]
    svg = lines(key, f"{title}. {says}.", series, x, y, labels, reference=reference)
    columns = ("Model", x.label.capitalize(), y.label.capitalize())
    return Chart(title, svg, says, how, point_table(title, columns, tables, f"plots/{key}.csv"))


def reliability_chart(models: list[ModelResults]) -> Chart:
    title = f"Are the probabilities to be believed?{title_note(models[0].split)}"
    series = [
        Series(
            *part[["confidence", "accuracy"]].to_numpy().T,
            place,
            dashed=calibration != "calibrated",
        )
        for place, model in enumerate(models)
        for calibration, part in model.reliability.dropna().groupby("calibration", sort=True)
    ]
    says = "Calibration error, as trained and calibrated: " + ", ".join(
        f"{model.name} {number(model.metrics.get('ece'))} and "
        f"{number(model.metrics.get('ece_calibrated'))}"
        for model in models
    )
    if not series:
        return Chart(title, "", says, "")
    how = (
        "Images in bins by the probability that the model gave its answer (across), and the share "
        "of right answers in each (up). On the dotted line a model is right as often as it says; "
        "below it, it is too sure of itself. Bins of few images jump about."
    )
    x, y = Axis("probability of the answer"), Axis("share of right answers", UNIT)
    names = [model.name for model in models]
    least = min(one.x.min() for one in series)
    svg = lines(
        "reliability",
        f"{title} {says}.",
        series,
        x,
        y,
        names,
        ("calibrated", "as trained"),
        ([least, 1], [least, 1]),
    )
    parts = {
        model.name: model.reliability.assign(n=model.reliability["n"].map("{:.0f}".format))
        for model in models
    }
    table = point_table(
        title,
        ("Model", "Calibration", "Probability", "Right", "Images"),
        parts,
        "plots/reliability.csv",
    )
    return Chart(title, svg, says, how, table)


def feature_map(table: pd.DataFrame) -> Chart:
    """Images by their features; the largest classes in colour, at most MOST_PLACES images."""
    title = "The images as the backbone sees them"
    table = table.dropna(subset=["x", "y"]).sort_values(["class_name", "path"], kind="stable")
    if table.empty:
        return Chart(title, "", "The audit made no map.", "")
    sizes = table["class_name"].value_counts(sort=False).sort_values(ascending=False, kind="stable")
    named, n_others = list(sizes.index[: len(MARKERS)]), len(sizes[len(MARKERS) :])
    counts = [f"{shorten(name)} ({sizes[name]:,})" for name in named]
    if n_others:
        counts.append(plural(n_others, "other class"))
    says = f"{plural(len(table), 'image')} of {plural(len(sizes), 'class')}: {listed(counts)}"
    how = (
        "Near each other: alike to the network, before any training. Neither direction has a "
        "meaning or a unit."
    )
    shown = table.iloc[evenly(len(table), MOST_PLACES)]
    if len(shown) < len(table):
        how += (
            f" {len(shown):,} of the {len(table):,} are drawn, evenly chosen; "
            "data/audit/feature_map.csv has all."
        )
    others = _places(shown[~shown["class_name"].isin(named)])
    svg = scatter(
        "feature-map",
        f"{title}: {says}.",
        [(name, _places(shown[shown["class_name"] == name])) for name in named],
        others if len(others) else None,
    )
    centres = table.groupby("class_name")[["x", "y"]].mean()
    middles = Table(
        "The middle of each class on the map",
        ("Class", "Images", "Across", "Up"),
        [
            [shorten(name), f"{sizes[name]:,}", *(number(place, 2) for place in centres.loc[name])]
            for name in named
        ],
    )
    return Chart(title, svg, says, how, middles)


def _places(table: pd.DataFrame) -> np.ndarray:
    return table[["x", "y"]].to_numpy(dtype=float)
