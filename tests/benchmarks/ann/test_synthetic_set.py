import json
from pathlib import Path

import numpy as np

from benchmarks.ann.synthetic_set import N_CATEGORIES, NEIGHBOURS, make_synthetic_set
from shared.vectors import unit_rows

_REAL = {name: unit_rows(np.random.default_rng(0).normal(size=(40, 16))) for name in "ab"}


def test_neighbours_are_the_nearest_of_the_category(tmp_path: Path) -> None:
    dataset = make_synthetic_set(tmp_path / "set", _REAL, 20_000, 50, seed=0)
    vectors, categories = np.load(dataset.vectors), np.load(dataset.categories)
    assert vectors.shape == (20_000, 16)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1)
    assert set(categories) == set(range(N_CATEGORIES))
    nearest = np.load(dataset.nearest)
    queries, labels = np.load(dataset.queries), np.load(dataset.query_categories)
    for query, category, rows in zip(queries, labels, nearest, strict=True):
        scores = np.where(categories == category, vectors @ query, -np.inf)
        assert set(rows) == set(np.argsort(-scores)[:NEIGHBOURS])
    assert dataset.recall(nearest.tolist()) == 1.0
    assert dataset.recall([[*one[:5], -1, -2, -3, -4, -5] for one in nearest.tolist()[:10]]) == 0.5


def test_items_name_the_rows(tmp_path: Path) -> None:
    dataset = make_synthetic_set(tmp_path / "set", _REAL, 200, 10, seed=0)
    items = [json.loads(line) for line in dataset.items.read_text().splitlines()]
    assert [item["item_id"] for item in items] == [str(row) for row in range(200)]
    assert [item["category"] for item in items] == [f"category-{one}" for one in np.load(dataset.categories)]


def test_an_existing_data_set_is_kept(tmp_path: Path) -> None:
    first = make_synthetic_set(tmp_path / "set", _REAL, 200, 10, seed=0)
    vectors = first.vectors.read_bytes()
    first.queries.write_bytes(b"touched")
    assert make_synthetic_set(tmp_path / "set", _REAL, 200, 10, seed=0).queries.read_bytes() == b"touched"
    assert make_synthetic_set(tmp_path / "set", _REAL, 200, 10, seed=1).vectors.read_bytes() != vectors
    assert make_synthetic_set(tmp_path / "set", _REAL, 200, 10, seed=0).vectors.read_bytes() == vectors
