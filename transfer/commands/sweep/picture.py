"""Plots a sweep: validation loss by trial with the best so far, and validation loss by each varied
parameter."""

import math
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from transfer.commands.sweep.space import Space, written
from transfer.runtime.files import atomic_write

WIDTH, COLUMNS = 9.0, 4
INK, MUTED, LINE = "#1b1f24", "#57606a", "#d0d7de"
TRIAL, BEST, OWN = "#0072b2", "#d55e00", "#1b1f24"  # of the report's colours; shapes differ too
STYLE = {
    "font.family": ["DejaVu Sans"],
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.7,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
}


def draw(path: Path, space: Space, table: pd.DataFrame) -> None:
    """Draw a study's table (transfer/commands/sweep/search.py) as a PNG; trials whose loss is far
    above the others' are arrows at the upper edge."""
    rows = math.ceil(len(space.distributions) / COLUMNS)
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        figure = Figure(figsize=(WIDTH, 3.3 + 2.3 * rows), dpi=110, layout="constrained")
        FigureCanvasAgg(figure)
        grid = figure.add_gridspec(1 + rows, COLUMNS, height_ratios=[1.25, *[1] * rows])
        limits = _limits(table)
        _draw_trials(figure.add_subplot(grid[0, :]), table, limits)
        for place, name in enumerate(space.distributions):
            axes = figure.add_subplot(grid[1 + place // COLUMNS, place % COLUMNS])
            _draw_parameter(axes, table, space, name, limits)
            if place % COLUMNS:
                axes.tick_params(labelleft=False)
            else:
                axes.set_ylabel("validation loss")
        figure.suptitle(
            f"{space.section}: validation loss of {len(table)} trials, mean over seeds", fontsize=12
        )
        figure.legend(
            handles=_handles(table),
            loc="outside lower center",
            ncols=5,
            columnspacing=1.2,
            handletextpad=0.5,
        )
        with atomic_write(path) as temporary:
            figure.savefig(temporary, format="png", metadata={"Software": None})


def _limits(table: pd.DataFrame) -> tuple[float, float]:
    """From the lowest loss to params.yaml's and most others'; a few that went wrong would press all
    the rest flat."""
    losses, spread = table["loss"].dropna(), table["loss_sd"].fillna(0)
    low = float((table["loss"] - spread).min())
    ordinary = losses[losses <= losses.median() + 3 * max(losses.median() - losses.min(), 1e-9)]
    high = max(float(ordinary.max()), float(losses.iloc[0] + spread.iloc[0]))
    margin = 0.06 * (high - low or 1)
    return low - margin, high + 2 * margin


def _draw_trials(axes: Axes, table: pd.DataFrame, limits: tuple[float, float]) -> None:
    axes.axhline(table["loss"][0], color=OWN, linestyle=":", linewidth=1.2, zorder=1)
    axes.step(
        table["trial"],
        table["loss"].cummin().ffill(),
        where="post",
        color=BEST,
        linewidth=1.6,
        zorder=2,
    )
    bars = table[table["loss_sd"].notna() & (table["loss"] < limits[1])]
    axes.errorbar(
        bars["trial"],
        bars["loss"],
        bars["loss_sd"],
        linestyle="",
        color=TRIAL,
        alpha=0.45,
        linewidth=1.4,
        zorder=2,
    )
    _points(axes, table["trial"].to_numpy(), table, limits)
    axes.set(xlabel="trial", ylabel="validation loss", ylim=limits, xlim=(-0.6, len(table) - 0.4))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _draw_parameter(
    axes: Axes, table: pd.DataFrame, space: Space, name: str, limits: tuple[float, float]
) -> None:
    distribution = space.distributions[name]
    axes.axhline(table["loss"][0], color=OWN, linestyle=":", linewidth=1.2, zorder=1)
    if isinstance(distribution, CategoricalDistribution):
        choices = [written(choice) for choice in distribution.choices]
        places = np.array([choices.index(value) for value in table[name]], dtype=float)
        axes.set_xticks(range(len(choices)), choices)
        axes.set_xlim(-0.5, len(choices) - 0.5)
    else:
        places = table[name].to_numpy(dtype=float)
        if distribution.log:
            axes.set_xscale("log")
            axes.xaxis.set_minor_formatter(NullFormatter())
            if distribution.high / distribution.low < 30:  # a single power of ten says too little
                axes.xaxis.set_major_locator(
                    LogLocator(subs=(1, 2, 5) if distribution.low >= 1 else (1, 3))
                )
                axes.xaxis.set_major_formatter("{x:g}")
        else:
            axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.set_xlim(_with_margins(distribution))
    _points(axes, places, table, limits)
    axes.set(xlabel=name, ylim=limits)


def _with_margins(distribution: IntDistribution | FloatDistribution) -> tuple[float, float]:
    """The range with a twentieth more on either side,
    of its logarithm where that is what is drawn evenly."""
    ends = np.array([distribution.low, distribution.high], dtype=float)
    ends = np.log(ends) if distribution.log else ends
    wider = ends + np.array([-0.05, 0.05]) * (ends[1] - ends[0])
    return tuple(np.exp(wider) if distribution.log else wider)


def _points(
    axes: Axes, places: np.ndarray, table: pd.DataFrame, limits: tuple[float, float]
) -> None:
    """Trials that were trained, those off the picture or failed at its upper edge, params.yaml and
    the best on top."""
    losses = table["loss"].to_numpy(dtype=float)
    inside, failed = losses <= limits[1], np.isnan(losses)
    edge = limits[1] - 0.045 * (limits[1] - limits[0])
    axes.plot(
        places[inside], losses[inside], "o", color=TRIAL, markersize=5.5, alpha=0.85, zorder=3
    )
    for kind, chosen in (("^", ~inside & ~failed), ("x", failed)):
        axes.plot(
            places[chosen], np.full(chosen.sum(), edge), kind, color=TRIAL, markersize=6.5, zorder=3
        )
    best = int(np.nanargmin(losses))
    axes.plot(places[0], losses[0], "s", color=OWN, markersize=7, zorder=4)
    axes.plot(
        places[best],
        losses[best],
        "*",
        color=BEST,
        markersize=14,
        markeredgecolor="white",
        markeredgewidth=0.8,
        zorder=5,
    )


def _handles(table: pd.DataFrame) -> list[Line2D]:
    losses = table["loss"]
    handles = [
        Line2D([], [], color=OWN, marker="s", markersize=7, linestyle=":", label="params.yaml"),
        Line2D(
            [],
            [],
            color=TRIAL,
            marker="o",
            markersize=5.5,
            linestyle="",
            label="a trial (bar: sd over seeds)",
        ),
        Line2D(
            [],
            [],
            color=BEST,
            marker="*",
            markersize=12,
            linestyle="-",
            label="the best (line: so far)",
        ),
    ]
    if (losses > _limits(table)[1]).any():
        handles.append(
            Line2D(
                [],
                [],
                color=TRIAL,
                marker="^",
                markersize=6.5,
                linestyle="",
                label="above the picture",
            )
        )
    if losses.isna().any():
        handles.append(
            Line2D([], [], color=TRIAL, marker="x", markersize=6.5, linestyle="", label="failed")
        )
    return handles
