"""From a catalogue whose metadata describe its items to searches by text."""

import json
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from search_service.engine.engine import Engine
from search_service.engine.query import Query
from shared.errors import TextUnavailable
from shared.retrieval.search_options import SearchOptions
from shared.snapshot.data_directory import DataDirectory
from shared.snapshot.snapshot import Snapshot
from tests.support.builders.described import make_described
from tests.support.builders.shop import run


def _built(directory: Path, *options: str) -> Engine:
    """Build of given embeddings; every fifth item has no metadata."""
    embedded, _ = make_described()
    np.save(directory / "e.npy", embedded.views[:, 0])
    lines = [
        {"item_id": item.item_id, "category": item.category, **({} if number % 5 == 4 else item.metadata)}
        for number, item in enumerate(embedded.items)
    ]
    (directory / "i.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    given = ("--embeddings", directory / "e.npy", "--items", directory / "i.jsonl")
    done = run("build", *given, "--data", directory / "data", *options)
    assert done.status == 0, done.err
    data = DataDirectory(directory / "data")
    return Engine(Snapshot.open(data.paths(data.current_id())))


@pytest.fixture(scope="module")
def titles() -> dict[str, str]:
    embedded, titles = make_described()
    return {item.item_id: title.lower() for item, title in zip(embedded.items, titles, strict=True)}


def test_a_text_finds_items_with_its_words_and_others_that_look_like_it(tmp_path: Path, titles: dict[str, str]) -> None:
    with closing(_built(tmp_path)) as engine:
        assert engine.has_words
        right, unseen_right = [], []
        for title in sorted(set(titles.values())):
            result = engine.search(Query(text=title), SearchOptions(300))
            assert result.predicted.category == title.split()[-1]
            right += [titles[hit.item.item_id] == title for hit in result.hits[:5]]
            unseen = [hit for hit in result.hits if not hit.item.metadata]
            unseen_right += [titles[unseen[0].item.item_id] == title]
        assert np.mean(right) > 0.95
        assert np.mean(unseen_right) > 0.6
        understood = engine.search(Query(text="gren purple"), SearchOptions()).understood
        assert understood is not None
        assert (understood.text, understood.unknown_words) == ("green", ("purple",))


def test_without_words_there_is_no_search_by_text(tmp_path: Path) -> None:
    with closing(_built(tmp_path, "--words", "none")) as engine:
        assert not engine.has_words
        with pytest.raises(TextUnavailable):
            engine.search(Query(text="red"), SearchOptions())
