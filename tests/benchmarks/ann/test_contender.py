import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.ann.contender import Contender, contenders
from benchmarks.ann.drawn_set import DrawnSet, make_set
from benchmarks.ann.environments import PEERS, installed
from benchmarks.ann.peer_process import PeerFailed
from benchmarks.ann.real_embeddings import CACHE
from benchmarks.ann.taking_turns import take_turns
from shared.vectors import unit_rows

_NEARBY = Path(__file__).with_name("nearby.py")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> DrawnSet:
    normal = np.random.default_rng(0).normal
    real = {name: unit_rows(normal(size=(40, 16)) + normal(size=16)) for name in "abc"}
    return make_set(tmp_path_factory.mktemp("set") / "set", real, 1500, 60, seed=0)


def _contender(drawn: DrawnSet, name: str, variant: str = "plain") -> Contender:
    efforts = [{"share": 0.5}, {"share": 0.9}, {"share": 1.0}]
    settings = {"broken": variant == "broken"}
    return Contender(_NEARBY, variant, settings, efforts, {}, Path(sys.executable), drawn.directory / name)


def test_the_least_effort_with_the_recall_that_is_wanted_is_taken(drawn: DrawnSet) -> None:
    figures = _contender(drawn, "tuned").measure(drawn)
    assert [one["effort"]["share"] for one in figures["curve"]] == [0.5, 0.9, 1.0]
    assert figures["tuned"]["effort"] == {"share": 1.0}
    assert figures["tuned"]["recall"] == 1.0
    assert 0.4 < figures["curve"][0]["recall"] < 0.6
    assert figures["disk_bytes"] > 1500 * 16 * 4
    assert figures["tuned"]["p50_ms"] <= figures["tuned"]["p99_ms"]
    assert figures["memory_mb"]["4"]["rss"] > 3 * figures["memory_mb"]["1"]["rss"]


def test_what_a_library_says_when_it_fails_is_told(drawn: DrawnSet) -> None:
    with pytest.raises(PeerFailed, match="ValueError: no such setting"):
        _contender(drawn, "broken", "broken").measure(drawn)
    one = _contender(drawn, "ended")
    one.build(drawn)
    with one.opened() as process, pytest.raises(PeerFailed, match="ended with 7: out of memory"):
        process.ask(
            "search",
            queries=str(drawn.queries),
            categories=str(drawn.query_categories),
            start=0,
            stop=None,
            k=10,
            effort={"end": True},
            limit_s=1,
        )


def test_an_index_that_was_built_is_kept(drawn: DrawnSet) -> None:
    one = _contender(drawn, "kept")
    assert one.build(drawn) == one.build(drawn)
    one.forget()
    assert not one.directory.exists()


def test_libraries_take_turns_over_all_queries(drawn: DrawnSet) -> None:
    quick, whole = _contender(drawn, "quick"), _contender(drawn, "whole")
    records = take_turns(drawn, [(quick, {"share": 0.5}), (whole, {"share": 1.0})])
    assert [record["queries"] for record in records] == [180, 180]
    assert records[0]["recall"] < records[1]["recall"] == 1.0


@pytest.mark.skipif(
    not installed("hnswlib", CACHE / "environments"), reason="python -m benchmarks.ann.scale installs it"
)
def test_hnswlib_finds_the_nearest(drawn: DrawnSet) -> None:
    one, *_ = contenders(PEERS / "hnswlib.py", CACHE / "environments", drawn.directory)
    assert one.measure(drawn)["tuned"]["recall"] >= 0.99
