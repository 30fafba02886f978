"""Complete builds into Milvus Lite, in this process: moves, deletions, and leftovers of killed builds."""

import json
from contextlib import closing

import pytest

from indexer import publish_gate
from indexer.partitions.milvus_upload import Upload
from indexer.snapshots.milvus_collections import connect, record_collection
from shared.manifest import Manifest
from shared.milvus.connection import MilvusConnection
from tests.support.builders.shop import Hits, Shop

pytestmark = pytest.mark.milvus


def _same(found: Hits, expected: Hits) -> None:
    assert found.keys() == expected.keys()
    for query, hits in expected.items():
        assert found[query] == pytest.approx(hits, abs=1e-4)


class _Store:
    def __init__(self, address: str) -> None:
        self.address = address

    def _ask(self, method: str, **arguments: object) -> object:
        with closing(connect(self.address)) as connection:
            return connection.call(method, **arguments)

    def alias(self) -> str:
        return self._ask("describe_alias", alias="parecido")["collection_name"]

    def collections(self) -> set[str]:
        return set(self._ask("list_collections"))


@pytest.fixture
def store(quick_shop: Shop) -> _Store:
    return _Store(f"milvus+file://{quick_shop.root.resolve()}/vectors.db")


def _collection(shop: Shop) -> str:
    return Manifest.read(shop.current().manifest).store.collection


def test_a_shop_moves_to_milvus_and_back(quick_shop: Shop, store: _Store) -> None:
    embedded = quick_shop.hits()
    done = quick_shop.build("--store", store.address)
    assert (done.status, done.json["published"], done.json["embedded"]) == (0, True, 0), done.err
    _same(quick_shop.hits(), embedded)
    manifest = Manifest.read(quick_shop.current().manifest)
    assert manifest.store.address == store.address
    assert manifest.store.rows == 36
    assert [entry.ann_recall_at_10 for entry in manifest.categories] == [1.0] * 3
    assert list(quick_shop.current().partitions.glob("*.faiss")) == []
    assert store.alias() == manifest.store.collection

    assert quick_shop.run("verify").status == 0
    again = quick_shop.build()
    assert again.json["snapshot_id"] == manifest.snapshot_id

    back = quick_shop.build("--store", "embedded")
    assert back.json["embedded"] == 0
    assert Manifest.read(quick_shop.current().manifest).store is None
    assert quick_shop.hits() == embedded


def test_an_incremental_build_a_rollback_and_retention(quick_shop: Shop, store: _Store) -> None:
    quick_shop.build("--store", store.address, "--keep", 2)
    first, before = _collection(quick_shop), quick_shop.hits()
    quick_shop.remove("discs 3")
    quick_shop.picture("stripes", 99, shade=0.123, side=40)
    quick_shop.write([*quick_shop.rows(), quick_shop.row("stripes", 99)])
    done = quick_shop.build()
    assert (done.status, done.json["embedded"]) == (0, 2), done.err  # the new picture and its copy
    second = _collection(quick_shop)
    assert store.alias() == second != first
    assert "discs 3" not in quick_shop.hits()
    assert "stripes 99" in quick_shop.hits()["stripes 1"]

    assert quick_shop.run("rollback").status == 0
    assert store.alias() == first
    assert quick_shop.hits() == before

    quick_shop.change("checks 1", price=1)
    quick_shop.build()
    assert store.collections() == {second, _collection(quick_shop)}


def test_a_build_that_ends_before_it_is_published_leaves_the_alias_and_its_half_goes(
    quick_shop: Shop, store: _Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick_shop.build("--store", store.address)
    complete = _collection(quick_shop)
    quick_shop.remove("discs 3")
    for target in (Upload, "_index"), (publish_gate, "move_alias"):
        with monkeypatch.context() as patched:
            patched.setattr(*target, _die)
            with pytest.raises(_Killed):
                quick_shop.build()
        assert store.alias() == complete
        assert _collection(quick_shop) == complete
    assert len(store.collections()) == 3
    assert quick_shop.build().status == 0
    # A candidate that was complete stays until it is older than what is published.
    assert len(store.collections()) == 2
    assert store.alias() == _collection(quick_shop)


class _Killed(BaseException):
    pass


def _die(*_: object) -> None:
    raise _Killed


def test_a_lost_collection_is_built_again(quick_shop: Shop, store: _Store) -> None:
    quick_shop.build("--store", store.address)
    lost, before = _collection(quick_shop), quick_shop.hits()
    with closing(connect(store.address)) as connection:
        connection.call("drop_alias", alias="parecido")
        connection.call("drop_collection", collection_name=lost)
    done = quick_shop.build()
    assert "the published vectors are lost" in done.err
    assert _collection(quick_shop) != lost
    assert quick_shop.hits() == before


def test_the_alias_of_another_data_directory_is_unchanged(quick_shop: Shop, store: _Store) -> None:
    quick_shop.build("--store", store.address)
    (quick_shop.data.root / "collections").unlink()
    refused = quick_shop.build()
    assert refused.status == 2
    assert "choose another name" in refused.json["error"]["message"]
    other = quick_shop.build("--store", f"{store.address}?name=other")
    assert other.status == 0
    assert len(store.collections()) == 2


def test_only_recorded_collections_are_dropped(quick_shop: Shop, store: _Store) -> None:
    with closing(connect(store.address)) as connection:
        connection.call("create_collection", collection_name="parecido_20200101T000000000_abcdef", dimension=4)
        connection.call("create_collection", collection_name="parecido_half", dimension=4)
    record_collection(quick_shop.data, store.address, "parecido_half")
    quick_shop.build("--store", store.address)
    assert store.collections() == {_collection(quick_shop), "parecido_20200101T000000000_abcdef"}


def test_more_categories_than_the_server_takes_partitions_share_them(
    quick_shop: Shop, store: _Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = MilvusConnection.call

    def limited(self: MilvusConnection, method: str, *rest: object, **arguments: object) -> object:
        if method == "create_partition" and arguments["partition_name"] == "category_2":
            self._breaker.failed()
            raise self._unavailable("create_partition: partition number (3) exceeds max configuration (3)")
        return call(self, method, *rest, **arguments)

    embedded = quick_shop.hits()
    monkeypatch.setattr(MilvusConnection, "call", limited)
    done = quick_shop.build("--store", store.address)
    assert (done.status, done.json["published"]) == (0, True), done.err
    assert Manifest.read(quick_shop.current().manifest).store.partitions == 2
    _same(quick_shop.hits(), embedded)
    assert quick_shop.run("verify").status == 0


def test_options_that_milvus_lacks_are_rejected(quick_shop: Shop, store: _Store) -> None:
    for option, value in (("--vectors", "int8"), ("--index-kind", "ivf"), ("--max-bytes-per-vector", 100)):
        refused = quick_shop.build("--store", store.address, option, value)
        assert refused.status == 2
        assert option in refused.json["error"]["message"]


def test_no_secret_is_written(quick_shop: Shop, store: _Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARECIDO_MILVUS_USER", "somebody")
    monkeypatch.setenv("PARECIDO_MILVUS_PASSWORD", "hush-hush")
    done = quick_shop.build("--store", store.address)
    assert done.status == 0
    written = [path for path in quick_shop.data.root.rglob("*") if path.is_file()]
    assert not [path for path in written if b"hush-hush" in path.read_bytes()]
    assert "hush-hush" not in done.err + json.dumps(done.json)
