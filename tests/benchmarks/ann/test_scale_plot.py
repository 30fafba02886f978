from typing import Any

from benchmarks.ann.scale_plot import draw_recall, draw_sizes, latest


def _row(peer: str, size: int, p50_ms: float, recall: float = 0.995, variant: str = "one") -> dict[str, Any]:
    tuned = {"recall": recall, "p50_ms": p50_ms, "queries_per_s": 1000 / p50_ms}
    curve = [{"recall": 0.9, "queries_per_s": 2000 / p50_ms}, tuned]
    return {"peer": peer, "variant": variant, "size": size, "tuned": tuned, "curve": curve}


_FAILED = {"peer": "a", "variant": "one", "size": 1000, "failed": "no memory"}


def test_the_latest_row_that_did_not_fail_counts() -> None:
    rows = latest([_row("a", 1000, 5.0), _row("b", 1000, 1.0), _row("a", 1000, 4.0), _FAILED])
    assert [(row["peer"], row["tuned"]["p50_ms"]) for row in rows] == [("a", 4.0), ("b", 1.0)]


def test_each_library_and_variant_has_a_line() -> None:
    rows = [_row("a", 1000, 2.0), _row("a", 1000, 4.0, variant="two"), _row("parecido", 1000, 1.0)]
    [axes] = draw_recall(rows).axes
    lines = {line.get_label(): line for line in axes.lines if not str(line.get_label()).startswith("_")}
    assert lines.keys() == {"a, one", "a, two", "parecido, one"}
    assert list(lines["a, two"].get_ydata()) == [500, 250]
    assert lines["a, one"].get_color() == lines["a, two"].get_color() != lines["parecido, one"].get_color()


def test_only_libraries_that_reach_the_recall_are_plotted_by_size() -> None:
    rows = latest([_row("a", 1000, 1.0), _row("a", 10_000, 3.0), _row("a", 100_000, 9.0, recall=0.9)])
    [axes] = draw_sizes(rows).axes
    [line] = axes.lines
    assert list(line.get_xdata()) == [1000, 10_000]
    assert list(line.get_ydata()) == [1.0, 3.0]
