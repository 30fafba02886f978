"""Which items pass a filter, and which make a group, against plain Python on the same metadata."""

import random
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.catalogue.item_store import ItemStore
from shared.catalogue.item_writer import write_items
from shared.catalogue.items import IndexedItem, Item
from shared.catalogue.metadata_filter import MetadataFilter
from shared.errors import FiltersUnavailable

_ODD: list[dict[str, Any]] = [
    {"v": 3},
    {"v": 3.0},
    {"v": "3"},
    {"v": "3.0"},
    {"v": "03"},
    {"v": True},
    {"v": 1},
    {"v": "true"},
    {"v": False},
    {"v": 0},
    {"v": None},
    {},
    {"v": ["a", "b", "a", 3]},
    {"v": [True, ["deep"], {"a": "a"}, None]},
    {"v": []},
    {"v": {"n": 3}},
    {"v": "A"},
    {"v": "a"},
    {"v": "é"},
    {"v": "e\u0301"},
    {"v": "\ud800"},
    {"\ud800": 3},
    {"ключ 👟'\"\\ ": "значение"},
    {"": "empty name"},
    {"v": ""},
    {"v": 10**400},
    {"v": float("nan")},
    {"v": float("inf")},
    {"v": 2**63},
    {"v": 2**53 + 1},
    {"v": -2.5},
    {"v": "x" * 5000},
    {"v": "a\0b"},
    {"v": ["-2.5", 7]},
]


def _store(path: Path, metadata: list[dict[str, Any]]) -> ItemStore:
    items = [IndexedItem(Item(str(n), "c", ("x.png",), one), n, (n,)) for n, one in enumerate(metadata)]
    write_items(path / "items.sqlite", items)
    return ItemStore(path / "items.sqlite")


@pytest.fixture
def odd(tmp_path: Path) -> Iterator[ItemStore]:
    with closing(_store(tmp_path, _ODD)) as store:
        yield store


def _found(store: ItemStore, expected: dict[str, Any]) -> list[dict[str, Any]]:
    return [_ODD[number] for number in np.flatnonzero(store.passing(MetadataFilter.from_json(expected)))]


@pytest.mark.parametrize(
    ("expected", "values"),
    [
        (3, [3, 3.0, "3", "3.0", ["a", "b", "a", 3]]),
        ("3", ["3"]),
        ("3.0", ["3.0"]),
        ("03", ["03"]),
        (1, [1]),
        (True, [True, [True, ["deep"], {"a": "a"}, None]]),
        (False, [False]),
        (0, [0]),
        ("true", ["true"]),
        ("a", [["a", "b", "a", 3], "a"]),
        ("A", ["A"]),
        ("é", ["é"]),
        ("", [""]),
        ("deep", []),
        ("a\0b", ["a\0b"]),
        ("x" * 5000, ["x" * 5000]),
        ("x" * 4999, []),
        (-2.5, [-2.5, ["-2.5", 7]]),
        (2**53 + 1, [2**53 + 1]),
        (2**53, []),
        (2.0**63, [2**63]),
        (["A", "é", False, 7], [False, "A", "é", ["-2.5", 7]]),
        ({"gt": 3}, [2**63, 2**53 + 1, ["-2.5", 7]]),
        ({"lt": 0}, [-2.5, ["-2.5", 7]]),
        ({"gte": 0, "lte": 1}, [1, 0]),
        ({"gt": 0, "lt": 1}, []),
        ({"gt": 1, "gte": 3, "lte": 3}, [3, 3.0, "3", "3.0", ["a", "b", "a", 3]]),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_equals_what(odd: ItemStore, expected: object, values: list[object]) -> None:
    found = [one["v"] for one in _found(odd, {"v": expected})]
    assert [(type(one), one) for one in found] == [(type(one), one) for one in values]


def test_odd_fields(odd: ItemStore) -> None:
    assert _found(odd, {"ключ 👟'\"\\ ": "значение"}) == [{"ключ 👟'\"\\ ": "значение"}]
    assert _found(odd, {"": ["empty name"]}) == [{"": "empty name"}]
    for field in ("V", "n", "v.n", "%", "' OR 1=1 --", "item_id", "category"):
        assert _found(odd, {field: 3}) == []
    assert len(_found(odd, {})) == len(_ODD)


def test_all_conditions_must_hold(tmp_path: Path) -> None:
    metadata = [{"a": n % 2, "b": n % 3} for n in range(12)]
    with closing(_store(tmp_path, metadata)) as store:
        assert np.flatnonzero(store.passing(MetadataFilter.from_json({"a": 1, "b": [0, 2]}))).tolist() == [3, 5, 9, 11]
        assert not store.passing(MetadataFilter.from_json({"a": 1, "b": 3})).any()


def test_random_filters_equal_plain_python(tmp_path: Path) -> None:
    draw = random.Random(0)
    kinds: list[Callable[[], Any]] = [
        lambda: draw.randint(-3, 3),
        lambda: draw.choice([-0.5, 0.0, 1.0, 2.5]),
        lambda: draw.choice("ab"),
        lambda: draw.choice([True, False]),
        lambda: draw.choices("abc", k=2),
        lambda: None,
    ]
    metadata = [{field: draw.choice(kinds)() for field in draw.sample("xyz", draw.randint(0, 3))} for _ in range(400)]
    sizes = set()
    with closing(_store(tmp_path, metadata)) as store:
        for _ in range(200):
            values = [draw.choice(kinds[:4])() for _ in range(draw.randint(1, 3))]
            low, field = draw.randint(-3, 1), draw.choice("xyz")
            expected = {field: values, draw.choice("xyz"): {"gt": low, "lte": low + 2}}
            found = np.flatnonzero(store.passing(MetadataFilter.from_json(expected))).tolist()
            assert found == [n for n, one in enumerate(metadata) if _passes(one, expected)]
            sizes.add(len(found))
    assert len(sizes) > 20


def _passes(metadata: dict[str, Any], expected: dict[str, Any]) -> bool:
    return all(
        any(
            _is_number(one) and condition["gt"] < one <= condition["lte"]
            if isinstance(condition, dict)
            else any(isinstance(one, bool) == isinstance(value, bool) and one == value for value in condition)
            for one in (metadata[field] if isinstance(metadata.get(field), list) else [metadata.get(field)])
        )
        for field, condition in expected.items()
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def test_groups_share_one_value(odd: ItemStore) -> None:
    groups = odd.groups("v")
    by_group: dict[int, list[Any]] = {}
    for metadata, group in zip(_ODD, groups.tolist(), strict=True):
        by_group.setdefault(group, []).append(metadata.get("v"))
    alone = by_group.pop(-1)
    assert [values for values in by_group.values() if len(values) > 1] == [[3, 3.0]]
    assert all(isinstance(value, str | int | float) for values in by_group.values() for value in values)
    assert [value for value in alone if isinstance(value, str)] == ["\ud800"]
    assert {type(value) for value in alone} == {type(None), list, dict, str, int, float}
    assert (odd.groups("nowhere") == -1).all()


def test_numbers_may_have_gaps_and_come_in_any_order(tmp_path: Path) -> None:
    items = [IndexedItem(Item(str(n), "c", ("x.png",), {"a": n % 2}), n, (0,)) for n in (70_001, 5, 300, 2)]
    write_items(tmp_path / "items.sqlite", items)
    with closing(ItemStore(tmp_path / "items.sqlite")) as store:
        assert store.n_numbers == 70_002
        assert np.flatnonzero(store.passing(MetadataFilter.from_json({"a": 1}))).tolist() == [5, 70_001]
        assert np.flatnonzero(store.groups("a") >= 0).tolist() == [2, 5, 300, 70_001]


def test_many_threads_find_the_same_and_nobody_changes_it(odd: ItemStore) -> None:
    expected = [MetadataFilter.from_json({"v": value}) for value in (3, "3", True, {"gt": 0}, ["a", "A"])] * 40
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(odd.passing, expected))
    for one, passing in zip(expected, found, strict=True):
        np.testing.assert_array_equal(passing, odd.passing(one))
    with pytest.raises(ValueError, match="read-only"):
        found[0][0] = True
    with pytest.raises(ValueError, match="read-only"):
        odd.groups("v")[0] = 1


def test_a_store_of_an_older_version_is_read_but_not_filtered(tmp_path: Path) -> None:
    _store(tmp_path, [{"a": 1}]).close()
    with closing(sqlite3.connect(tmp_path / "items.sqlite")) as connection:
        connection.executescript("DROP TABLE metadata_values; DROP TABLE metadata_fields; VACUUM")
    with closing(ItemStore(tmp_path / "items.sqlite")) as store:
        assert store.by_id("0").item.metadata == {"a": 1}
        assert not store.can_filter
        for ask in (lambda: store.passing(MetadataFilter()), lambda: store.groups("a")):
            with pytest.raises(FiltersUnavailable, match="build it again"):
                ask()


def test_no_items(tmp_path: Path) -> None:
    with closing(_store(tmp_path, [])) as store:
        assert store.passing(MetadataFilter.from_json({"a": 1})).shape == (0,)
        assert store.groups("a").shape == (0,)
