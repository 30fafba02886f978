"""`items.sqlite`: what goes in comes out, from any thread; what is no such file is rejected."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from shared.catalogue.item_store import ItemStore
from shared.catalogue.item_writer import write_items
from shared.catalogue.items import IndexedItem, Item
from shared.errors import SnapshotError, UnknownItem

_ITEMS = (
    IndexedItem(Item("a-1", "shoes", ("a/1.jpg", "a/1 (2).jpg", "a/0.jpg")), 0, (0, 1, 7)),
    IndexedItem(Item("Größe/42", "Schuhe & Stiefel", ("ü/🙂.png",), {"title": "Schöner Schuh", "price": 9.5}), 1, (3,)),
    IndexedItem(Item("👟", "👟", ("x.webp",), {"tags": ["a", "b"], "deep": {"n": None, "yes": True}}), 2, (0,)),
    IndexedItem(Item("'; DROP TABLE items; --", "a/b", ("..jpg",), {"lone": "\ud800"}), 5, (4,)),
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ItemStore]:
    write_items(tmp_path / "items.sqlite", _ITEMS)
    with closing(ItemStore(tmp_path / "items.sqlite")) as store:
        yield store


def test_round_trip_by_id(store: ItemStore) -> None:
    assert [store.by_id(indexed.item.item_id) for indexed in _ITEMS] == list(_ITEMS)
    assert len(store) == 4


def test_an_image_is_known_by_its_digest(tmp_path: Path) -> None:
    digests = {0: (b"1", b"2", b"3"), 1: (b"2",), 2: (b"2",), 5: (b"4",)}
    stored = [replace(indexed, digests=digests[indexed.number]) for indexed in _ITEMS]
    write_items(tmp_path / "items.sqlite", stored)
    with closing(ItemStore(tmp_path / "items.sqlite")) as store:
        assert list(store) == stored
        assert store.categories_of(b"3") == ["shoes"]
        assert store.categories_of(b"2") == ["shoes", "Schuhe & Stiefel", "👟"]
        assert store.categories_of(b"5") == []


def test_by_numbers_keeps_the_order_that_was_asked_for(store: ItemStore) -> None:
    assert [found.number for found in store.by_numbers([5, 0, 2, 0])] == [5, 0, 2, 0]
    assert store.by_numbers([2]) == [_ITEMS[2]]
    assert store.by_numbers([]) == []


def test_iterating_gives_every_item_by_number(store: ItemStore) -> None:
    assert list(store) == list(_ITEMS)


def test_items_may_be_written_in_any_order(tmp_path: Path) -> None:
    write_items(tmp_path / "items.sqlite", reversed(_ITEMS))
    with closing(ItemStore(tmp_path / "items.sqlite")) as store:
        assert list(store) == list(_ITEMS)


@pytest.mark.parametrize("item_id", ["", "A-1", "a-1 ", "a%", "nowhere", "a-1\0", "\ud800"])
def test_an_unknown_id_is_named(store: ItemStore, item_id: str) -> None:
    with pytest.raises(UnknownItem) as caught:
        store.by_id(item_id)
    assert str(caught.value) == f"no item has the id {item_id!r}"


def test_many_threads_read_at_once(store: ItemStore) -> None:
    expected = list(_ITEMS) * 50
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(store.by_id, [indexed.item.item_id for indexed in expected])) == expected


@pytest.mark.parametrize("name", ["a?b.sqlite", "a#b.sqlite", "100%25.sqlite", "spaced ü.sqlite"])
def test_odd_file_names(tmp_path: Path, name: str) -> None:
    write_items(tmp_path / name, _ITEMS)
    with closing(ItemStore(tmp_path / name)) as store:
        assert list(store) == list(_ITEMS)


def test_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_items(tmp_path / "items.sqlite", _ITEMS)
    monkeypatch.chdir(tmp_path)
    with closing(ItemStore(Path("items.sqlite"))) as store:
        assert len(store) == 4


def test_a_catalogue_of_no_items(tmp_path: Path) -> None:
    write_items(tmp_path / "items.sqlite", [])
    with closing(ItemStore(tmp_path / "items.sqlite")) as store:
        assert len(store) == 0
        assert list(store) == []


def test_a_store_is_never_written(store: ItemStore, tmp_path: Path) -> None:
    before = (tmp_path / "items.sqlite").read_bytes()
    list(store)
    store.close()
    assert [path.name for path in tmp_path.iterdir()] == ["items.sqlite"]
    assert (tmp_path / "items.sqlite").read_bytes() == before


def test_an_item_needs_a_row_for_each_image(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="zip"):
        write_items(tmp_path / "items.sqlite", [IndexedItem(Item("a", "c", ("1.jpg", "2.jpg")), 0, (0,))])


def test_a_missing_file_is_named_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match=r"items\.sqlite can't be read"):
        ItemStore(tmp_path / "items.sqlite")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"garbage" * 1000])
def test_other_bytes_are_rejected(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "items.sqlite").write_bytes(content)
    with pytest.raises(SnapshotError, match=r"items\.sqlite can't be read"):
        ItemStore(tmp_path / "items.sqlite")
