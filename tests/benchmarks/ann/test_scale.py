from typing import Any

from benchmarks.ann.scale import best_beside


def _row(peer: str, p50_ms: float, recall: float = 0.995) -> dict[str, Any]:
    return {"peer": peer, "tuned": {"recall": recall, "p50_ms": p50_ms}}


def test_the_best_are_the_quickest_that_reach_the_recall_each_library_once() -> None:
    measured = {
        "slow": _row("a", 9.0),
        "quick": _row("a", 1.0),
        "inexact": _row("b", 0.1, recall=0.9),
        "second": _row("c", 2.0),
        "third": _row("d", 3.0),
        "ours": _row("parecido", 50.0),
    }
    assert best_beside(measured, 2) == ["ours", "quick", "second"]
    assert best_beside(measured, 4) == ["ours", "quick", "second", "third", "inexact"]
