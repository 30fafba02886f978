"""Snapshots that a build keeps or rebuilds."""

import sqlite3
from contextlib import closing
from dataclasses import replace

import numpy as np

from shared.catalogue.item_store import ItemStore
from shared.catalogue.metadata_filter import MetadataFilter
from shared.manifest import Manifest
from tests.support.builders.shop import Shop


def test_a_snapshot_without_a_metadata_index_is_rebuilt_without_embedding(quick_shop: Shop) -> None:
    assert "nothing has changed" in quick_shop.build().err  # or this test shows nothing
    old = quick_shop.current()
    with closing(sqlite3.connect(old.items)) as connection:
        connection.executescript("DROP TABLE metadata_values; DROP TABLE metadata_fields")
    replace(Manifest.read(old.manifest), checksums=old.checksums()).write(old.manifest)
    done = quick_shop.build("--keep", 9)
    assert (done.status, done.json["published"], done.json["embedded"]) == (0, True, 0), done.err
    assert quick_shop.current() != old
    with closing(ItemStore(quick_shop.current().items)) as items:
        found = np.flatnonzero(items.passing(MetadataFilter.from_json({"price": 3}))).tolist()
        assert [indexed.item.item_id for indexed in items.by_numbers(found)] == ["checks 3", "discs 3", "stripes 3"]
    assert "nothing has changed" in quick_shop.build().err
