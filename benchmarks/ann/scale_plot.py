"""Draw what `scale` stored: recall against queries a second, and how the time of a search grows with the vectors.

`python -m benchmarks.ann.scale_plot` writes `docs/images/scale-recall.png` and `docs/images/scale-size.png`.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from benchmarks.ann.contender import TARGET_RECALL
from benchmarks.ann.environments import OURS
from benchmarks.harness.options import REPOSITORY
from benchmarks.harness.rows import read

_IMAGES = REPOSITORY / "docs" / "images"
_LEAST_RECALL = 0.85
_SIZE_INCHES = (8, 5)
_DPI = 110
# Each library has a marker too, for readers who tell few colours apart.
_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#7f7f7f", "#8c6d31")
_MARKERS = "osD^vP*X"
_OURS_COLOUR = "black"
_STYLES = ("-", "--", ":")


def main() -> None:
    """Draw both."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.ann.scale_plot", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=100_000, help="of the recall's picture (default: 100,000)")
    parser.add_argument("--out", type=Path, default=_IMAGES, help="where to (default: docs/images)")
    options = parser.parse_args()
    rows = latest(read("scale"))
    of_size = [row for row in rows if row["size"] == options.size]
    if not of_size:
        raise SystemExit(f"nothing was measured with {options.size:,} vectors: python -m benchmarks.ann.scale")
    options.out.mkdir(parents=True, exist_ok=True)
    mpl.use("agg")
    for name, figure in (("scale-recall", draw_recall(of_size)), ("scale-size", draw_sizes(rows))):
        figure.savefig(options.out / f"{name}.png", dpi=_DPI)
        print(f"wrote {options.out / name}.png")


def latest(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Of each library, variant and size the last row that did not fail, of categories of the usual sizes."""
    usual = [row for row in rows if "failed" not in row and row.get("skew", 1) == 1]
    found = {(row["peer"], row["variant"], row["size"]): row for row in usual}
    return [found[key] for key in sorted(found)]


def draw_recall(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Recall against queries a second: a line a library and variant, a point for each params of its searches."""
    figure, axes = _figure()
    for row, style in _styled(rows):
        points = [one for one in row["curve"] if one["recall"] >= _LEAST_RECALL]
        axes.plot([one["recall"] for one in points], [one["queries_per_s"] for one in points], **style)
    axes.axvline(TARGET_RECALL, color="0.8", zorder=0)
    axes.set(
        yscale="log",
        xlabel="recall@10 against exact search",
        ylabel="queries/s, one thread",
        title=f"Search inside one category of ten, {rows[0]['size']:,} vectors of 1280 dimensions",
    )
    _label(axes.yaxis)
    _legend(axes)
    return figure


def draw_sizes(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """The median time of a search at the recall that is wanted, against how many vectors there are."""
    figure, axes = _figure()
    last = {(row["peer"], row["variant"]): row for row in rows}
    for row, style in _styled(list(last.values())):
        same = [one for one in rows if (one["peer"], one["variant"]) == (row["peer"], row["variant"])]
        reached = [one for one in same if one["tuned"]["recall"] >= TARGET_RECALL]
        if reached:
            axes.plot([one["size"] for one in reached], [one["tuned"]["p50_ms"] for one in reached], **style)
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="vectors in ten categories",
        ylabel="median time of a search, ms",
        title=f"The cost of a search inside one category at a recall of {TARGET_RECALL}",
    )
    _label(axes.yaxis)
    _label(axes.xaxis)
    axes.set_xticks(sorted({row["size"] for row in rows}))
    _legend(axes)
    return figure


def _figure() -> tuple[Figure, Axes]:
    figure = Figure(figsize=_SIZE_INCHES, layout="constrained")
    axes = figure.add_subplot()
    axes.grid(visible=True, color="0.93")
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _styled(rows: Sequence[Mapping[str, Any]]) -> list[tuple[Mapping[str, Any], dict[str, Any]]]:
    """Each row with how its line looks: a colour and a marker a library, a dash a variant."""
    others = sorted({row["peer"] for row in rows} - {OURS})
    styled = []
    for row in rows:
        variants = [one["variant"] for one in rows if one["peer"] == row["peer"]]
        ours = row["peer"] == OURS
        position = 0 if ours else others.index(row["peer"])
        style = {
            "label": f"{row['peer']}, {row['variant']}",
            "color": _OURS_COLOUR if ours else _COLOURS[position % len(_COLOURS)],
            "marker": "o" if ours else _MARKERS[position % len(_MARKERS)],
            "linestyle": _STYLES[variants.index(row["variant"]) % len(_STYLES)],
            "linewidth": 2.5 if ours else 1.3,
            "markersize": 7 if ours else 5,
            "zorder": 3 if ours else 2,
        }
        styled.append((row, style))
    return styled


def _legend(axes: Axes) -> None:
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize=8)


def _label(axis: Axis) -> None:
    """Plain numbers along a logarithmic axis, also one that is shorter than from 1 to 10."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7)))
    axis.set_major_formatter(FuncFormatter(_plain))
    axis.set_minor_formatter(NullFormatter())


def _plain(value: float, _: int) -> str:
    return f"{value:,.10g}"


if __name__ == "__main__":
    main()
