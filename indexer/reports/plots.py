"""The figures of an evaluation report, drawn by Matplotlib as SVG that is embedded in the page.

Lines and text use the page's colours, so that they are readable in light and dark mode and on paper.
"""

import math
import re
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from io import StringIO
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from numpy.typing import NDArray
from PIL import Image

from indexer.classifier.metrics import ReliabilityBin
from indexer.evaluation.diagnostics import Confusions, Coverage, Interval, ScoreBin
from indexer.evaluation.evaluate import Evaluation
from indexer.evaluation.retrieval_metrics import interval
from indexer.reports.embedding_map import EmbeddingMap

_INK, _LINE, _ACCENT, _BAD, _SHEET = "#010101", "#020202", "#030303", "#040404", "#050505"
_PAGE_COLOURS = {
    _INK: "currentColor",
    _LINE: "var(--line)",
    _ACCENT: "var(--accent)",
    _BAD: "var(--bad)",
    _SHEET: "var(--sheet)",
}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 10,
    "text.color": _INK,
    "axes.edgecolor": _LINE,
    "axes.labelcolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": _LINE,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "legend.frameon": False,
}
_WIDTH = 7.0  # inches
_NARROW, _LOW = 5.3, 3.7  # of figures that stand side by side
_MAX_CATEGORIES = 40
_NUMBERED_CATEGORIES = 25
_MAX_ALPHA = 0.55  # of a cell, so that its number is readable
_COLOURED_CATEGORIES = 19


def accuracy_by_category(evaluation: Evaluation, intervals: Mapping[str, Interval]) -> str:
    """Draw bars with intervals, the worst category on top; of very many the worst."""
    figures = sorted(evaluation.by_category, key=lambda figure: (figure.category_accuracy, figure.category))[
        :_MAX_CATEGORIES
    ]
    with _drawing():
        figure, axes = _figure(0.9 + 0.27 * len(figures))
        positions = np.arange(len(figures))[::-1]
        shares = np.array([one.category_accuracy for one in figures])
        axes.barh(positions, shares, height=0.62, color=_ACCENT, alpha=0.75)
        axes.errorbar(
            shares, positions, xerr=_errors(shares, [intervals[one.category] for one in figures]), **_WHISKERS
        )
        axes.set_yticks(positions, [f"{_short(one.category)} ({one.queries})" for one in figures])
        axes.set_xlim(0, 1.02)
        axes.set_xlabel("category_accuracy, with 95 % interval")
        axes.grid(axis="x")
        return _svg(figure, "accuracy")


def confusion_matrix(confusions: Confusions) -> str:
    """Draw true categories down, predicted ones across; of very many those with the most mistakes."""
    rows, columns = _most_confused(confusions)
    counts = np.array(confusions.counts)
    of = counts.sum(axis=1)
    with _drawing():
        side = max(3.4, 1.6 + 0.42 * len(columns))
        figure, axes = _figure(max(2.6, 1.3 + 0.36 * len(rows)), width=side)
        for y, row in enumerate(rows):
            for x, column in enumerate(columns):
                if count := int(counts[row, column]):
                    colour = _ACCENT if confusions.truth[row] == confusions.predicted[column] else _BAD
                    alpha = _MAX_ALPHA * (count / of[row]) ** 0.5
                    axes.add_patch(mpl.patches.Rectangle((x - 0.5, y - 0.5), 1, 1, color=colour, alpha=alpha, lw=0))
                    if len(columns) <= _NUMBERED_CATEGORIES:
                        axes.text(x, y, str(count), ha="center", va="center", fontsize=9)
        axes.set_xlim(-0.5, len(columns) - 0.5)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xticks(range(len(columns)), [_short(confusions.predicted[one]) for one in columns], rotation=90)
        axes.set_yticks(range(len(rows)), [f"{_short(confusions.truth[one])} ({of[one]})" for one in rows])
        axes.set_xlabel("predicted category")
        axes.set_ylabel("true category (photos)")
        axes.tick_params(length=0)
        return _svg(figure, "confusions")


def _most_confused(confusions: Confusions) -> tuple[list[int], list[int]]:
    """The rows and columns to draw: all, or those with the most mistakes, sorted by name."""
    counts = np.array(confusions.counts)
    wrong = counts * (np.array(confusions.truth)[:, np.newaxis] != np.array(confusions.predicted))
    rows = np.sort(np.argsort(-wrong.sum(axis=1), kind="stable")[:_MAX_CATEGORIES])
    columns = np.sort(np.argsort(-wrong[rows].sum(axis=0), kind="stable")[:_MAX_CATEGORIES])
    return rows.tolist(), columns.tolist()


def reliability_diagram(bins: Sequence[ReliabilityBin]) -> str:
    """Draw confidence against accuracy, with intervals; a calibrated classifier follows the diagonal."""
    confidence = np.array([one.confidence for one in bins])
    accuracy = np.array([one.category_accuracy for one in bins])
    most = max(one.queries for one in bins)
    sizes = [16 + 200 * one.queries / most for one in bins]
    with _drawing():
        figure, axes = _figure(_LOW, width=_NARROW)
        axes.plot([0, 1], [0, 1], color=_INK, linestyle=":", linewidth=1, label="calibrated")
        errors = _errors(accuracy, [interval(one.category_accuracy, one.queries) for one in bins])
        axes.errorbar(confidence, accuracy, yerr=errors, **_WHISKERS | {"ecolor": _ACCENT})
        axes.scatter(confidence, accuracy, sizes, color=_ACCENT, alpha=0.75, label="photos (area: number)")
        axes.set_xlim(0, 1.03)
        axes.set_ylim(0, 1.03)
        axes.set_xlabel("confidence")
        axes.set_ylabel("category_accuracy")
        axes.grid()
        figure.legend(loc="outside upper left", ncols=2)
        return _svg(figure, "reliability")


def coverage_curve(coverage: Sequence[Coverage], evaluation: Evaluation) -> str:
    """Draw the coverage of searches by their number of partitions, and that of `probe: auto`."""
    probes = [one.probe for one in coverage]
    shares = np.array([one.coverage for one in coverage])
    with _drawing():
        figure, axes = _figure(_LOW, width=_NARROW)
        errors = _errors(shares, [one.interval for one in coverage])
        axes.errorbar(probes, shares, yerr=errors, color=_ACCENT, marker="o", capsize=3, label="probe = 1, 2, …")
        auto = (evaluation.probe_auto_partitions, evaluation.probe_auto_coverage)
        axes.plot(*auto, color=_BAD, marker="D", linestyle="none", label="probe = auto (mean)")
        axes.set_xticks(probes)
        axes.set_ylim(min(0.9, *(one.interval[0] for one in coverage), auto[1]) - 0.02, 1.005)
        axes.set_xlabel("partitions searched")
        axes.set_ylabel("true category is searched")
        axes.grid()
        figure.legend(loc="outside upper left", ncols=2)
        return _svg(figure, "coverage")


def score_distributions(scores: Sequence[ScoreBin]) -> str:
    """Draw histograms of the scores of right and of wrong hits."""
    lows, widths = np.array([one.above for one in scores]), np.array([one.up_to - one.above for one in scores])
    with _drawing():
        figure, axes = _figure(_LOW, width=_NARROW)
        for label, colour, counts in (
            ("right", _ACCENT, np.array([one.right for one in scores])),
            ("wrong", _BAD, np.array([one.wrong for one in scores])),
        ):
            total = int(counts.sum())
            heights = counts / max(1, total)
            axes.bar(lows, heights, widths, align="edge", color=colour, alpha=0.5, label=f"{label} ({total:,} hits)")
        axes.set_xlabel("score")
        axes.set_ylabel("share of these hits")
        axes.grid(axis="y")
        figure.legend(loc="outside upper left", ncols=2)
        return _svg(figure, "scores")


def embedding_map(drawn: EmbeddingMap, thumbnails: Sequence[Image.Image | None]) -> str:
    """Draw the map, coloured by category, with thumbnails of some images."""
    common = [name for name, _ in Counter(drawn.categories).most_common(_COLOURED_CATEGORIES)]
    colours = _category_colours(common)
    names = np.array([name if name in colours else "others" for name in drawn.categories])
    with _drawing():
        figure, axes = _figure(6.4, width=9.2)
        for name in [*sorted(common), *(["others"] if "others" in names and "others" not in common else [])]:
            here = drawn.points[names == name]
            axes.scatter(
                *here.T, s=14, color=colours.get(name, "#888888"), alpha=0.65, lw=0, label=name, rasterized=True
            )
        for (point, _), picture in zip(drawn.thumbnails, thumbnails, strict=True):
            if picture is not None:
                _pin(axes, drawn.points[point], picture, colours.get(drawn.categories[point], "#888888"))
        axes.set_xticks([])
        axes.set_yticks([])
        for spine, share in zip(("x", "y"), drawn.explained, strict=True):
            getattr(axes, f"set_{spine}label")(f"principal component, {share:.0%} of the variance")
        axes.margins(0.06)
        figure.legend(*_large_dots(axes), loc="outside right upper")
        return _svg(figure, "map")


def _pin(axes: Any, point: NDArray[np.float64], picture: Image.Image, colour: Any) -> None:
    image = OffsetImage(np.asarray(picture), zoom=0.55)
    frame = {"edgecolor": colour, "linewidth": 1.6, "boxstyle": "square,pad=0.02"}
    axes.add_artist(AnnotationBbox(image, tuple(point), pad=0, bboxprops=frame))


def _large_dots(axes: Any) -> tuple[list[Any], list[str]]:
    handles, labels = axes.get_legend_handles_labels()
    dots = [
        mpl.lines.Line2D([], [], linestyle="none", marker="o", markersize=6, color=one.get_facecolor()[0], alpha=1)
        for one in handles
    ]
    return dots, [_short(label) for label in labels]


def _category_colours(names: Sequence[str]) -> dict[str, Any]:
    palette = mpl.colormaps["tab10" if len(names) <= 10 else "tab20"]
    return {name: palette(number) for number, name in enumerate(sorted(names))}


_WHISKERS: dict[str, Any] = {"fmt": "none", "ecolor": _INK, "elinewidth": 1, "capsize": 2.5}


def _errors(shares: NDArray[np.float64], intervals: Sequence[Interval]) -> NDArray[np.float64]:
    """`(2, n)` float64: the extent of each interval below and above its share."""
    lows, highs = np.array(intervals).T
    return np.maximum([shares - lows, highs - shares], 0)


def _drawing() -> Any:
    return mpl.rc_context(_STYLE)


def _figure(height: float, width: float = _WIDTH) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def _svg(figure: Figure, name: str) -> str:
    """Return an SVG element with ids of its own, and without the time of drawing."""
    file = StringIO()
    with mpl.rc_context({"svg.hashsalt": name}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the browser has the glyph
        empty = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(file, format="svg", transparent=True, metadata=empty, dpi=144)
    drawn = file.getvalue()
    drawn = drawn[drawn.index("<svg") :]
    for placeholder, colour in _PAGE_COLOURS.items():
        drawn = drawn.replace(placeholder, colour)
    drawn = re.sub(r'<g id="[^"]*"', "<g", drawn)
    drawn = re.sub(r"(font: [\d.]+px )[^;\"]*", r"\1system-ui, sans-serif", drawn)
    return re.sub(r'<svg ([^>]*?)height="([\d.]+)pt"([^>]*?)width="([\d.]+)pt"', _sized, drawn, count=1)


def _sized(match: re.Match[str]) -> str:
    """Set the width as drawn, limited by the page."""
    return f'<svg {match[1]}{match[3]}style="width: {math.ceil(float(match[4]) * 4 / 3)}px"'


def _short(name: str) -> str:
    return name if len(name) <= 24 else f"{name[:23]}…"
