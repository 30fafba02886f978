"""Spellings of `--store`, and that no secret shows."""

import pytest

from shared.errors import SettingsError
from shared.milvus.address import MilvusAccess, MilvusAddress


@pytest.mark.parametrize(
    ("text", "uri", "name", "database"),
    [
        ("milvus+http://host", "http://host:19530", "parecido", ""),
        ("milvus+http://10.0.0.7:1234/", "http://10.0.0.7:1234", "parecido", ""),
        ("milvus+http://[::1]:1234", "http://[::1]:1234", "parecido", ""),
        ("milvus+https://host:443?name=shop&database=visual", "https://host:443", "shop", "visual"),
        ("milvus+file:///tmp/a%20b/x.db", "/tmp/a b/x.db", "parecido", ""),
    ],
)
def test_addresses(text: str, uri: str, name: str, database: str) -> None:
    found = MilvusAddress.parse(text)
    assert (found.uri, found.name, found.database) == (uri, name, database)


@pytest.mark.parametrize(
    "text",
    [
        "http://host:19530",
        "milvus+http://",
        "milvus+http://host:port",
        "milvus+http://host/collection",
        "milvus+http://host?alias=x",
        "milvus+http://host?name=",
        "milvus+http://host?name=a-b",
        "milvus+file://host/x.db",
        "milvus+file:///tmp/x.sqlite",
        "Embedded",
    ],
)
def test_what_is_no_address_is_rejected(text: str) -> None:
    with pytest.raises(SettingsError, match="--store"):
        MilvusAddress.parse(text)


def test_credentials_in_an_address_are_refused_and_not_repeated() -> None:
    with pytest.raises(SettingsError, match="PARECIDO_MILVUS_PASSWORD") as caught:
        MilvusAddress.parse("milvus+http://root:hush@host:19530")
    assert "hush" not in str(caught.value)


def test_access_is_read_from_the_environment_and_hides_its_secrets() -> None:
    access = MilvusAccess.from_environment(
        {"PARECIDO_MILVUS_USER": "u", "PARECIDO_MILVUS_PASSWORD": "hush", "PARECIDO_MILVUS_TOKEN": "psst"}
    )
    assert (access.user, access.password, access.token) == ("u", "hush", "psst")
    assert "hush" not in repr(access)
    assert "psst" not in repr(access)


def test_a_collection_is_named_for_its_snapshot() -> None:
    address = MilvusAddress.parse("milvus+http://host?name=shop")
    assert address.collection("20260101T000000000-abcdef") == "shop_20260101T000000000_abcdef"
