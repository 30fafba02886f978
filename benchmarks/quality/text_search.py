"""Search by text: relevance, the category that is predicted, and the time of a query.

A catalogue is built with the product's own command: the items of `train.jsonl` with their words, and those of
`validation.jsonl` without any. Its titles, their misspellings and some words of each description are the queries;
relevant are the items of the same title. Measured are

- the strict search, by cosine alone, by cosine with the bonus of the words that describe an item, as served, and with
  a bonus that outweighs every cosine;
- the same among the items without words, in as many categories as `probe: auto` searches;
- the category: accuracy, expected calibration error, coverage and partitions of `probe: auto`;
- a photo without words beside its own title, and beside another one of its category ("this, but red");
- the time over HTTP.
"""

import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness.build_process import SMOKE, build
from benchmarks.harness.embedded_photos import THREADS
from benchmarks.harness.options import option_parser
from benchmarks.harness.rows import print_records, store
from benchmarks.harness.service_process import Client, service
from indexer.classifier.metrics import expected_calibration_error
from search_service.engine.engine import Engine
from search_service.engine.query import Query
from shared.catalogue.metadata_filter import MetadataFilter
from shared.retrieval import text_query
from shared.retrieval.results import SearchResult
from shared.retrieval.search_options import SearchOptions
from shared.snapshot.data_directory import DataDirectory
from shared.snapshot.snapshot import Snapshot
from shared.words.tokens import words

_BONUSES = {"cosine alone": 0.0, "as served": text_query.MAX_BONUS, "words first": 10.0}
_WEIGHTS = (0.3, 0.4, 0.5, 0.6, 0.7)
_UNSEEN = MetadataFilter.from_json({"unseen": True})
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class _Said:
    """A text, and what it is of."""

    text: str
    title: str
    category: str


def main() -> None:
    """Build, search, print and store."""
    parser = option_parser("quality.text_search", __doc__)
    parser.add_argument("--build", default="", help="further options of `indexer build`, for example '--side 224'")
    options = parser.parse_args()
    train, unseen = _read(options.photos / "train.jsonl"), _read(options.photos / "validation.jsonl")
    if options.smoke:
        train, unseen = train[::8], unseen[::4]
    with tempfile.TemporaryDirectory(prefix="parecido-benchmark-") as directory:
        data = Path(directory) / "data"
        listed = Path(directory) / "catalogue.jsonl"
        listed.write_text("\n".join(map(json.dumps, [*train, *map(_without_words, unseen)])))
        extra = (*SMOKE, *options.build.split()) if options.smoke else tuple(options.build.split())
        build(data, "--catalogue", str(listed), "--image-root", str(options.photos), "--report", "off", *extra)
        paths = DataDirectory(data).paths(DataDirectory(data).current_id())
        titles = {item["item_id"]: item["title"] for item in train}
        titles |= {f"u-{item['item_id']}": item["title"] for item in unseen}
        with closing(Engine(Snapshot.open(paths, THREADS))) as engine:
            queries = _queries(train)
            ranked = [row for name, said in queries.items() for row in _ranking_rows(engine, name, said, titles)]
            predicted = [_category_row(engine, name, said) for name, said in queries.items()]
            beside = _beside_rows(engine, train, unseen, titles)
        times = _times(data, queries["titles"])
    print_records("strict search by text, items of the same title", ranked)
    print_records("the category of a text", predicted)
    print_records("a photo beside a title", beside)
    print_records("over HTTP, one client", [times])
    store("text_search", options.smoke, {"ranked": ranked, "category": predicted, "beside": beside, "times": times})


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _without_words(item: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in item.items() if name not in ("title", "description")}
    return {**kept, "item_id": f"u-{item['item_id']}", "unseen": True}


def _queries(train: Sequence[Mapping[str, Any]]) -> dict[str, list[_Said]]:
    """Queries of each kind, one per title."""
    draw = np.random.default_rng(0)
    items = {item["title"]: item for item in train}

    def of(make: Callable[[Mapping[str, Any]], str]) -> list[_Said]:
        return [_Said(make(item), title, item["category"]) for title, item in items.items()]

    def some(item: Mapping[str, Any], count: int) -> str:
        said = words(item["description"])
        positions = draw.choice(len(said), min(count, len(said)), replace=False)
        return " ".join(said[position] for position in sorted(positions))

    return {
        "titles": of(lambda item: item["title"]),
        "titles, misspelt": of(lambda item: " ".join(_misspelt(word, draw) for word in words(item["title"]))),
        "titles and categories": of(lambda item: f"{item['title']} {item['category'].replace('-', ' ')}"),
        "2 words of descriptions": of(lambda item: some(item, 2)),
        "3 words of descriptions": of(lambda item: some(item, 3)),
        "5 words of descriptions": of(lambda item: some(item, 5)),
    }


def _misspelt(word: str, draw: np.random.Generator) -> str:
    """The word with one letter wrong, if it is long enough to be corrected."""
    if len(word) < 4 or not word.isalpha():
        return word
    position = int(draw.integers(len(word)))
    return word[:position] + _LETTERS[draw.integers(len(_LETTERS))] + word[position + 1 :]


def _ranking_rows(
    engine: Engine, name: str, queries: Sequence[_Said], titles: Mapping[str, str]
) -> list[dict[str, Any]]:
    rows = []
    for order, bonus in _BONUSES.items():
        text_query.MAX_BONUS = bonus
        whole = [_relevant(engine.search(Query(text=one.text), SearchOptions(10)), one, titles) for one in queries]
        options = SearchOptions(10, probe="auto", filter=_UNSEEN)
        have = [one for one in queries if any(titles[x] == one.title for x in titles if x.startswith("u-"))]
        unseen = [_relevant(engine.search(Query(text=one.text), options), one, titles) for one in have]
        rows.append(
            {
                "queries": name,
                "order": order,
                "first": float(np.mean([hits[:1] == [True] for hits in whole])),
                "of ten": float(np.mean([sum(hits) / 10 for hits in whole])),
                "without words: first": float(np.mean([hits[:1] == [True] for hits in unseen])),
                "among five": float(np.mean([any(hits[:5]) for hits in unseen])),
            }
        )
    text_query.MAX_BONUS = _BONUSES["as served"]
    return rows


def _relevant(result: SearchResult, said: _Said, titles: Mapping[str, str]) -> list[bool]:
    return [titles[hit.item.item_id] == said.title for hit in result.hits]


def _category_row(engine: Engine, name: str, queries: Sequence[_Said]) -> dict[str, Any]:
    results = [engine.search(Query(text=one.text), SearchOptions(1, probe="auto")) for one in queries]
    right = np.array([result.predicted.category == one.category for result, one in zip(results, queries, strict=True)])
    confidence = np.array([[result.predicted.confidence, 0] for result in results], dtype=np.float32)
    return {
        "queries": name,
        "category_accuracy": float(right.mean()),
        "ece": expected_calibration_error(confidence, (~right).astype(np.int64)),
        "auto": float(np.mean([one.category in each.searched for each, one in zip(results, queries, strict=True)])),
        "partitions": float(np.mean([len(result.searched) for result in results])),
    }


def _beside_rows(
    engine: Engine, train: Sequence[Mapping[str, Any]], unseen: Sequence[Mapping[str, Any]], titles: Mapping[str, str]
) -> list[dict[str, Any]]:
    """The share of photos whose first hit has the title that is said beside it, given the right category."""
    of_category: dict[str, set[str]] = {}
    for item in train:
        of_category.setdefault(item["category"], set()).add(item["title"])
    seen = MetadataFilter.from_json({"title": sorted({item["title"] for item in train})})

    def share(weight: float, title_of: Callable[[Mapping[str, Any]], Sequence[str]]) -> float:
        found = []
        for item in unseen:
            for title in title_of(item):
                query = Query(item_id=f"u-{item['item_id']}", text=title, text_weight=weight)
                result = engine.search(query, SearchOptions(1, filter=seen))
                found.append(titles[result.hits[0].item.item_id] == title)
        return float(np.mean(found))

    def others(item: Mapping[str, Any]) -> list[str]:
        return sorted(of_category.get(item["category"], set()) - {item["title"]})

    def own(item: Mapping[str, Any]) -> list[str]:
        return [item["title"]] if item["title"] in of_category.get(item["category"], set()) else []

    return [
        {"text_weight": str(weight), "its own title": share(weight, own), "another title": share(weight, others)}
        for weight in (0.0, *_WEIGHTS)
    ]


def _times(data: Path, queries: Sequence[_Said]) -> dict[str, Any]:
    with service(data) as running:
        client = Client(running.port)
        times_s: list[float] = []
        for said in [*queries, *queries, *queries]:
            started = time.perf_counter()
            client.search_text(said.text)
            times_s.append(time.perf_counter() - started)
        client.close()
        memory_mb = running.worker_mb()
        ready_s = running.ready_s
    return {
        "requests": str(len(times_s)),
        "p50_ms": 1000 * float(np.median(times_s)),
        "p95_ms": 1000 * float(np.percentile(times_s, 95)),
        "ready_s": ready_s,
        "worker_rss_mb": memory_mb["Rss"],
    }


if __name__ == "__main__":
    main()
