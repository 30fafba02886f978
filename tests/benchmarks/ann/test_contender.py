import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.ann.contender import Contender, contenders
from benchmarks.ann.environments import PEERS, installed
from benchmarks.ann.interleaved_search import search_interleaved
from benchmarks.ann.peer_process import PeerFailed
from benchmarks.ann.real_embeddings import CACHE
from benchmarks.ann.synthetic_set import SyntheticSet, make_synthetic_set
from shared.vectors import unit_rows

_NEARBY = Path(__file__).with_name("nearby.py")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> SyntheticSet:
    normal = np.random.default_rng(0).normal
    real = {name: unit_rows(normal(size=(40, 16)) + normal(size=16)) for name in "abc"}
    return make_synthetic_set(tmp_path_factory.mktemp("set") / "set", real, 1500, 60, seed=0)


def _contender(dataset: SyntheticSet, name: str, variant: str = "plain") -> Contender:
    search_params = [{"share": 0.5}, {"share": 0.9}, {"share": 1.0}]
    settings = {"broken": variant == "broken"}
    return Contender(_NEARBY, variant, settings, search_params, {}, Path(sys.executable), dataset.directory / name)


def test_the_cheapest_parameters_that_reach_the_target_recall_win(dataset: SyntheticSet) -> None:
    figures = _contender(dataset, "tuned").measure(dataset)
    assert [one["params"]["share"] for one in figures["curve"]] == [0.5, 0.9, 1.0]
    assert figures["tuned"]["params"] == {"share": 1.0}
    assert figures["tuned"]["recall"] == 1.0
    assert 0.4 < figures["curve"][0]["recall"] < 0.6
    assert figures["disk_bytes"] > 1500 * 16 * 4
    assert figures["tuned"]["p50_ms"] <= figures["tuned"]["p99_ms"]
    assert figures["memory_mb"]["4"]["rss"] > 3 * figures["memory_mb"]["1"]["rss"]


def test_the_error_message_of_a_failing_library_is_reported(dataset: SyntheticSet) -> None:
    with pytest.raises(PeerFailed, match="ValueError: no such setting"):
        _contender(dataset, "broken", "broken").measure(dataset)
    one = _contender(dataset, "ended")
    one.build(dataset)
    with one.opened() as process, pytest.raises(PeerFailed, match="ended with 7: out of memory"):
        process.ask(
            "search",
            queries=str(dataset.queries),
            categories=str(dataset.query_categories),
            start=0,
            stop=None,
            k=10,
            params={"end": True},
            limit_s=1,
        )


def test_an_index_that_was_built_is_kept(dataset: SyntheticSet) -> None:
    one = _contender(dataset, "kept")
    assert one.build(dataset) == one.build(dataset)
    one.forget()
    assert not one.directory.exists()


def test_libraries_take_turns_over_all_queries(dataset: SyntheticSet) -> None:
    quick, whole = _contender(dataset, "quick"), _contender(dataset, "whole")
    records = search_interleaved(dataset, [(quick, {"share": 0.5}), (whole, {"share": 1.0})])
    assert [record["queries"] for record in records] == [180, 180]
    assert records[0]["recall"] < records[1]["recall"] == 1.0


@pytest.mark.skipif(
    not installed("hnswlib", CACHE / "environments"), reason="python -m benchmarks.ann.scale installs it"
)
def test_hnswlib_finds_the_nearest(dataset: SyntheticSet) -> None:
    one, *_ = contenders(PEERS / "hnswlib.py", CACHE / "environments", dataset.directory)
    assert one.measure(dataset)["tuned"]["recall"] >= 0.99
