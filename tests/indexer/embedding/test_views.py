"""Embeddings that stay in the cache: what is read, what of it was damaged or lost, and files that changed since."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from indexer.catalogue.reader import read_catalogue
from indexer.console.progress import SilentReporter
from indexer.embedding.augmentation import Augmentation
from indexer.embedding.cache import EmbeddingCache
from indexer.embedding.embed_catalogue import EmbeddedCatalogue, embed_catalogue
from indexer.embedding.embed_image import EmbeddingConfig
from indexer.embedding.views import CachedViews
from shared.errors import CatalogueError
from shared.images.limits import ImageLimits
from shared.vectors import Pixels, Vectors
from tests.support.fakes import FakeEmbedder, picture

_COLOURS = ("red", "green", "blue", "orange", "purple", "teal")


class _Counting(FakeEmbedder):
    """Counts the pictures that it embeds."""

    def __init__(self) -> None:
        self.pictures = 0

    def embed(self, pixels: Pixels, is_alone: bool = False) -> Vectors:
        self.pictures += len(pixels)
        return super().embed(pixels)


@dataclass
class _Case:
    """A catalogue that is embedded with a cache, and what that would give without one."""

    root: Path
    how: EmbeddingConfig
    cache: EmbeddingCache
    embedder: _Counting
    said: list[str]

    @property
    def database(self) -> Path:
        return self.root / "cache.sqlite"

    def embed(self, **changes: object) -> EmbeddedCatalogue:
        self.embedder.pictures = 0
        with SilentReporter().stage("embed") as stage:
            return embed_catalogue(read_catalogue(self.root / "items.jsonl"), replace(self.how, **changes), stage)

    def damage(self, what: str) -> None:
        self.cache.commit()
        with closing(sqlite3.connect(self.database)) as connection, connection:
            connection.execute(what)


@pytest.fixture
def case(tmp_path: Path) -> Iterator[_Case]:
    rows = [{"item_id": colour, "category": "c", "image": f"{colour}.png"} for colour in _COLOURS]
    for colour in _COLOURS:
        (tmp_path / f"{colour}.png").write_bytes(picture(colour, file_format="PNG"))
    (tmp_path / "items.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    said: list[str] = []
    embedder = _Counting()
    how = EmbeddingConfig(embedder, Augmentation(copies=1), ImageLimits(), threads=2)
    with closing(EmbeddingCache(tmp_path / "cache.sqlite", how.recipe, 2, said.append)) as cache:
        yield _Case(tmp_path, replace(how, cache=cache), cache, embedder, said)


_ALL = np.arange(len(_COLOURS))


def test_the_cache_gives_the_very_same_as_memory(case: _Case) -> None:
    wanted = case.embed(cache=None)
    assert isinstance(wanted.views, np.ndarray)
    first, again = case.embed(), case.embed()
    assert case.embedder.pictures == 0
    for found in (first, again):
        assert isinstance(found.views, CachedViews)
        assert found.views.shape == wanted.views.shape == (6, 2, FakeEmbedder.dim)
        np.testing.assert_array_equal(found.views[_ALL], wanted.views)
        np.testing.assert_array_equal(found.originals, wanted.originals)
        assert (found.items, found.digests, found.recipe) == (wanted.items, wanted.digests, wanted.recipe)


@pytest.mark.parametrize("places", [[], [3], [5, 0, 5, 2]])
def test_any_images_in_any_order(case: _Case, places: list[int]) -> None:
    wanted = case.embed(cache=None).views[np.array(places, dtype=np.int64)]
    found = case.embed().views[np.array(places, dtype=np.int64)]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(
    ("damage", "embedded"),
    [
        ("UPDATE views SET checksum = checksum + 1 WHERE number = 2", 1),
        ("UPDATE views SET views = x'00'", 6),
        ("DELETE FROM views WHERE number > 3", 3),
        ("DELETE FROM entries", 6),
    ],
)
def test_what_is_damaged_or_lost_is_embedded_again_and_kept(case: _Case, damage: str, embedded: int) -> None:
    wanted = case.embed(cache=None).views
    found = case.embed()
    case.damage(damage)
    case.embedder.pictures = 0
    np.testing.assert_array_equal(found.views[_ALL], wanted)
    assert case.embedder.pictures == 2 * embedded
    np.testing.assert_array_equal(found.views[_ALL], wanted)
    assert case.embedder.pictures == 2 * embedded  # it is in the cache again


def test_nothing_is_read_before_it_is_wanted(case: _Case) -> None:
    case.embed()
    case.damage("UPDATE views SET checksum = checksum + 1")
    assert case.embed().entries == 6
    assert case.embedder.pictures == 0


def test_a_file_that_is_another_one_by_now_is_not_taken_for_the_old(case: _Case) -> None:
    found = case.embed()
    case.damage("DELETE FROM entries")
    (case.root / "green.png").write_bytes(picture("pink", file_format="PNG"))
    np.testing.assert_array_equal(found.views[np.array([0])], case.embed(cache=None).views[[0]])
    with pytest.raises(CatalogueError, match=r"green\.png was changed while the catalogue was read; build again"):
        found.views[np.array([0, 1])]


def test_a_file_that_is_gone_by_now_is_said(case: _Case) -> None:
    found = case.embed()
    case.damage("DELETE FROM entries")
    (case.root / "green.png").unlink()
    with pytest.raises(CatalogueError, match=r"green\.png was readable earlier in this build: No such file"):
        found.views[np.array([1])]


def test_a_changed_file_does_not_matter_while_the_cache_has_what_was_read(case: _Case) -> None:
    wanted = case.embed(cache=None).views
    found = case.embed()
    (case.root / "green.png").unlink()
    np.testing.assert_array_equal(found.views[_ALL], wanted)
