"""Servers that reject, are silent, or answer with an error; and a pymilvus that is not there."""

import socket
import sys
from collections.abc import Iterator

import pytest

from shared.errors import SettingsError, StoreUnavailable
from shared.milvus.address import MilvusAccess, MilvusAddress
from shared.milvus.circuit_breaker import CircuitBreaker
from shared.milvus.connection import MilvusConnection


@pytest.fixture
def silent() -> Iterator[MilvusConnection]:
    """To a server that takes connections and says nothing."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        address = MilvusAddress.parse(f"milvus+http://127.0.0.1:{listening.getsockname()[1]}")
        connection = MilvusConnection(address, MilvusAccess(password="hush", timeout_s=0.3), CircuitBreaker(2, 60))
        yield connection
        connection.close()


def test_a_silent_server_is_given_up_in_time_and_then_not_asked(silent: MilvusConnection) -> None:
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match=r"Milvus at http://127.0.0.1:.* is not available") as caught:
            silent.call("list_collections")
        assert "hush" not in str(caught.value)
        assert "did not answer before" not in str(caught.value)
    with pytest.raises(StoreUnavailable, match="did not answer before") as caught:
        silent.call("list_collections")
    assert 50 <= caught.value.retry_after_s <= 60


def test_without_pymilvus_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pymilvus", None)
    connection = MilvusConnection(MilvusAddress.parse("milvus+http://host"), MilvusAccess())
    with pytest.raises(SettingsError, match=r"pip install 'parecido\[milvus\]'"):
        connection.call("list_collections")


def test_certificates_that_are_not_there_are_named(tmp_path) -> None:
    access = MilvusAccess(ca_file=tmp_path / "ca.pem")
    connection = MilvusConnection(MilvusAddress.parse("milvus+https://host"), access)
    with pytest.raises(SettingsError, match="PARECIDO_MILVUS_CA_FILE"):
        connection.call("list_collections")
