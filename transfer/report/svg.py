"""Charts as SVG to be put into a page: the page's own colours and font, the same bytes every time.

Matplotlib draws them in stand-in colours, which become the page's CSS variables (`--ink`,
`--series-1`, ...), so that dark mode reaches into them. A series also differs by its marker and its
dashes, never by its colour alone.
"""

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from xml.etree import ElementTree

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from transfer.report.formatting import evenly, shorten

SVG = "{http://www.w3.org/2000/svg}"
LINK = "{http://www.w3.org/1999/xlink}href"
# inches of 72 units; the page shows a chart at 0.97 (phone) to 1.4 (desktop) times that
SIZE = 5.0, 3.9
VARIABLES = {"#00000a": "--ink", "#00000b": "--muted", "#00000c": "--line", "#00000d": "--surface"}
INK, MUTED, LINE, SURFACE = VARIABLES
MARKERS = "osD^vPX"
SERIES = [f"#0000{16 + i:02x}" for i in range(len(MARKERS))]
COLOURS = {stand_in: f"var({name})" for stand_in, name in VARIABLES.items()} | {
    stand_in: f"var(--series-{i})" for i, stand_in in enumerate(SERIES, start=1)
}
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
    "font.family": ["DejaVu Sans"],  # measures the text; the page sets it in its own font
    "font.size": 11,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "legend.frameon": False,
    "legend.fontsize": 10.5,
    "axes.unicode_minus": True,
}
MOST_POINTS = 300  # of a line
FULL = {"linewidth": 2, "linestyle": "-"}
DASHED = {"linewidth": 1.4, "linestyle": (0, (4, 2))}


@dataclass(frozen=True)
class Series:
    """A line: x and y float (N,), the place of its colour and marker among SERIES,
    whether it is dashed."""

    x: np.ndarray
    y: np.ndarray
    place: int
    dashed: bool = False


@dataclass(frozen=True)
class Axis:
    """limits: None fits them to the data. whole: ticks at whole numbers only."""

    label: str
    limits: tuple[float, float] | None = None
    whole: bool = False


def lines(
    name: str,
    says: str,
    series: Sequence[Series],
    x: Axis,
    y: Axis,
    names: Sequence[str],
    styles: tuple[str, str] | None = None,
    reference: tuple[Sequence[float], Sequence[float]] | None = None,
    highlights: Sequence[tuple[float, float, int]] = (),
) -> str:
    """Lines with markers.

    Args:
        name: of the chart, for its ids.
        says: the text alternative.
        names: of the places, for the legend; an empty name is left out.
        styles: the meaning of a full and of a dashed line.
        reference: x and y of a dotted line for comparison.
        highlights: points to mark, (x, y, place).
    """
    with canvas() as figure:
        axes = figure.subplots()
        if reference:
            axes.plot(*reference, color=MUTED, linewidth=1.2, linestyle=":")
        for one in series:
            shown = evenly(len(one.x), MOST_POINTS)
            every = max(1, len(shown) // 8)
            axes.plot(
                one.x[shown],
                one.y[shown],
                color=SERIES[one.place],
                **(DASHED if one.dashed else FULL),
                marker=MARKERS[one.place],
                markersize=5,
                markevery=(one.place * every // len(names), every),
                markerfacecolor=SURFACE if one.dashed else SERIES[one.place],
            )
        for across, up, place in highlights:
            axes.plot(
                [across],
                [up],
                color=SERIES[place],
                marker="o",
                markersize=14,
                markeredgewidth=1.8,
                fillstyle="none",
            )
        _label(axes, x, y)
        entries = [_entry(text, place, **FULL) for place, text in enumerate(names) if text]
        if styles:
            entries += [_entry(styles[0], **FULL), _entry(styles[1], **DASHED)]
        _legend(figure, entries)
        return to_svg(figure, name, says)


def intervals(
    name: str,
    says: str,
    rows: Sequence[tuple[str, float, float, float]],
    x: Axis,
    texts: Sequence[str],
    reference: float | None,
) -> str:
    """One row per (label, value, low, high): a dot with its interval and its number above it; a
    dotted line at `reference`."""
    with canvas(height=0.9 + 0.75 * len(rows)) as figure:
        axes = figure.subplots()
        axes.grid(visible=False, axis="y")
        if reference is not None:
            axes.axvline(reference, color=MUTED, linewidth=1.2, linestyle=":")
        for i, ((_, value, low, high), text) in enumerate(zip(rows, texts, strict=True)):
            axes.plot(
                [low, high],
                [i, i],
                color=SERIES[i % len(SERIES)],
                linewidth=3,
                solid_capstyle="round",
            )
            axes.plot(
                [value],
                [i],
                color=SERIES[i % len(SERIES)],
                marker=MARKERS[i % len(MARKERS)],
                markersize=9,
            )
            axes.text(value, i - 0.22, text, ha="center", va="bottom", parse_math=False)
        axes.set_yticks(range(len(rows)), [row[0] for row in rows])
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_ylim(len(rows) - 0.5, -0.75)
        axes.set_xlabel(x.label)
        axes.set_xlim(x.limits)
        return to_svg(figure, name, says)


def scatter(
    name: str, says: str, groups: Sequence[tuple[str, np.ndarray]], other: np.ndarray | None = None
) -> str:
    """Points (N, 2) in groups with a name each, and `other` points behind them in grey; no axis has
    a unit."""
    with canvas(height=4.6) as figure:
        axes = figure.subplots()
        axes.grid(visible=False)
        if other is not None:
            axes.scatter(*other.T, s=9, c=MUTED, marker=".", alpha=0.6, linewidths=0)
        for i, (_, places) in enumerate(groups):
            axes.scatter(*places.T, s=14, c=SERIES[i], marker=MARKERS[i], alpha=0.75, linewidths=0)
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set_visible(True)
            spine.set_color(LINE)
        entries = [
            _entry(shorten(text), place, linestyle="") for place, (text, _) in enumerate(groups)
        ]
        if other is not None:
            entries.append(_entry("all other classes", marker=".", linestyle=""))
        _legend(figure, entries)
        return to_svg(figure, name, says)


@contextmanager
def canvas(height: float = SIZE[1]) -> Iterator[Figure]:
    """A figure in this module's style, whatever the user's matplotlibrc says."""
    # The measuring font may lack the script of a class's name; the page's font draws it.
    with matplotlib.rc_context(), warnings.catch_warnings(action="ignore", category=UserWarning):
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        figure = Figure(figsize=(SIZE[0], height), dpi=72, layout="constrained")
        FigureCanvasSVG(figure)
        yield figure


def _label(axes: Axes, x: Axis, y: Axis) -> None:
    axes.set_xlabel(x.label)
    axes.set_ylabel(y.label)
    axes.set_xlim(x.limits)
    axes.set_ylim(y.limits)
    if x.whole:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _entry(label: str, place: int | None = None, **style) -> Line2D:
    """An entry of a legend, in the colour and with the marker of a place, or grey."""
    if place is None:
        return Line2D([], [], label=label, color=MUTED, **style)
    return Line2D([], [], label=label, color=SERIES[place], marker=MARKERS[place], **style)


def _legend(figure: Figure, entries: Sequence[Line2D]) -> None:
    legend = figure.legend(
        handles=entries,
        loc="outside lower center",
        ncols=3 if len(entries) <= 3 else 2,
        columnspacing=1.5,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)


def to_svg(figure: Figure, name: str, says: str) -> str:
    """The figure as an <svg> element with `says` as its text alternative: CSS variables for
    colours, ids of its own."""
    buffer = io.StringIO()
    figure.savefig(
        buffer,
        format="svg",
        transparent=True,
        metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")),
    )
    root = ElementTree.fromstring(buffer.getvalue())  # noqa: S314, Matplotlib wrote it
    for style in root.findall(f"{SVG}defs"):  # at the top they would apply to the whole page
        root.remove(style)
    for element in root.iter():
        element.tag = element.tag.removeprefix(SVG)
        element.text, element.tail = (element.text or "").strip("\n ") or None, None
        if (identity := element.attrib.pop("id", None)) and element.tag not in ("g", "svg"):
            element.set("id", f"{name}-{identity}")
        if target := element.attrib.pop(LINK, None):
            element.set("href", f"#{name}-{target[1:]}")
        if clip := element.get("clip-path"):
            element.set("clip-path", clip.replace("#", f"#{name}-"))
        if style := element.get("style"):
            element.set("style", _themed(style))
        if outline := element.get("d"):
            element.set("d", " ".join(outline.split()))
    root.attrib = {"viewBox": root.get("viewBox"), "role": "img", "aria-label": says}
    return ElementTree.tostring(root, encoding="unicode")


def _themed(style: str) -> str:
    style = re.sub(r" ?font-family: [^;]+;?", "", style)
    return re.sub("|".join(COLOURS), lambda found: COLOURS[found[0]], style)
