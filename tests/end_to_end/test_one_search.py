"""Hits of `evaluate` compared with those of the service, score by score."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from indexer.console.progress import SilentReporter
from indexer.evaluation.evaluate import predict_queries
from indexer.evaluation.predictions import TOP_K, Predictions
from search_service.app import create_app
from search_service.engine.engine import Engine
from search_service.observability.metrics import Metrics
from search_service.settings import ServiceSettings
from search_service.snapshots.watcher import SnapshotVersion, SnapshotWatcher
from shared.retrieval.results import SearchResult
from shared.snapshot.data_directory import DataDirectory
from shared.snapshot.snapshot import Snapshot
from tests.support.builders.shop import KINDS, Shop

_PROBES = (1, "auto")


@pytest.mark.clothing
@pytest.mark.tensorflow
def test_evaluated_hits_are_the_served_hits(clothing: Path, clothing_build: DataDirectory) -> None:
    evaluated = _evaluate(clothing_build, clothing / "validation")
    assert len(evaluated.photos) == 341
    assert _differences(evaluated, clothing_build) == []
    evaluated.snapshot.close()


def test_evaluated_hits_are_the_served_hits_of_a_small_shop(quick_shop: Shop, tmp_path: Path) -> None:
    """New pictures, and the very files of two catalogue images under the label of another category."""
    queries = Shop(tmp_path / "queries", each=5).draw(side=50).root
    rows = [Shop.row(kind, number) for kind in KINDS for number in range(5)]
    for number in range(2):
        name = f"copy-{number}.png"
        (queries / name).write_bytes((quick_shop.root / f"discs-{number}.png").read_bytes())
        rows.append({"item_id": name, "category": "stripes", "image": name})
    Shop(tmp_path / "queries").write(rows)
    evaluated = _evaluate(quick_shop.data, queries / "items.jsonl")
    assert len(evaluated.photos) == 17
    assert {result.predicted.category for result in evaluated.strict[-2:]} == {"discs"}
    assert _differences(evaluated, quick_shop.data) == []
    evaluated.snapshot.close()


def _evaluate(data: DataDirectory, queries: Path) -> Predictions:
    snapshot = Snapshot.open(data.paths(data.current_id()), interpreters=2)
    return predict_queries(snapshot, queries, threads=2, reporter=SilentReporter())


def _differences(evaluated: Predictions, data: DataDirectory) -> list[tuple[Path, Any]]:
    """Photos and probes whose searches differ."""
    return [
        (path, probe)
        for probe in _PROBES
        for path, result, served in zip(
            evaluated.photos.paths,
            evaluated.search(probe),
            _served(data, evaluated.photos.paths, probe),
            strict=True,
        )
        if _evaluated_json(result) != served or not result.hits
    ]


def _evaluated_json(result: SearchResult) -> dict[str, Any]:
    return {
        "snapshot_id": result.snapshot_id,
        "category": result.predicted.category,
        "known": result.ood_verdict.in_distribution,
        "known_score": result.ood_verdict.score,
        "searched": list(result.searched),
        "hits": [(hit.rank, hit.item.item_id, hit.score) for hit in result.hits],
    }


def _served(data: DataDirectory, photos: tuple[Path, ...], probe: int | str) -> Iterator[dict[str, Any]]:
    """The same of the answers to `POST /v1/search` by the files."""
    engine = Engine(Snapshot.open(data.paths(data.current_id()), interpreters=2, lone_threads=2))
    watcher = SnapshotWatcher(lambda: SnapshotVersion(engine.snapshot_id, 0), lambda _: engine)
    watcher.poll()
    client = create_app(watcher, ServiceSettings(), Metrics(0.98)).test_client()
    for path in photos:
        form = {"image": (BytesIO(path.read_bytes()), path.name), "probe": str(probe), "top_k": str(TOP_K)}
        response = client.post("/v1/search", data=form, content_type="multipart/form-data")
        assert response.status_code == 200, response.json
        body = response.json
        yield {
            "snapshot_id": body["snapshot_id"],
            "category": body["query"]["category"],
            "known": body["query"]["known"],
            "known_score": body["query"]["known_score"],
            "searched": body["searched"],
            "hits": [(hit["rank"], hit["item_id"], hit["score"]) for hit in body["hits"]],
        }
    engine.close()
