"""The connection to a Milvus server, with timeouts, one retry, and a circuit breaker.

pymilvus is imported with the first connection: it is not needed, or installed, where vectors are in snapshots.
"""

import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from shared.errors import SettingsError, StoreUnavailable
from shared.milvus.address import MilvusAccess, MilvusAddress
from shared.milvus.circuit_breaker import CircuitBreaker

_ATTEMPTS = 2
# pymilvus reconnects under one lock, so several threads would wait for it in turn, far beyond their timeouts: calls run
# in threads of their own, which callers stop waiting for.
_THREADS = 16


class MilvusConnection:
    """A connection to one server; safe to use from any number of threads, but not across a fork."""

    def __init__(self, address: MilvusAddress, access: MilvusAccess, breaker: CircuitBreaker | None = None) -> None:
        """Prepare; the connection is opened by the first call.

        Args:
            address: of the server.
            access: credentials and timeout.
            breaker: allows or rejects calls.
        """
        self.address = address
        self._access = access
        self._breaker = breaker or CircuitBreaker()
        self._lock = threading.Lock()
        self._client: Any = None
        self._threads = ThreadPoolExecutor(_THREADS, "milvus")  # started on demand

    def call(self, method: str, timeout_s: float | None = None, **arguments: Any) -> Any:
        """Call an idempotent method of pymilvus's client; it is retried once if it fails early.

        Args:
            method: its name.
            timeout_s: seconds that it may take; None for the access's timeout.
            arguments: of the method.

        Raises:
            StoreUnavailable: there is no answer in time, or Milvus reports an error.
            SettingsError: pymilvus is not installed.
        """
        start_s = time.monotonic()
        limit_s = timeout_s or self._access.timeout_s
        wait_s = self._breaker.wait_s()
        if wait_s > 0:
            raise self._unavailable("it did not answer before, and will be tried again soon", wait_s)
        for attempt in range(1, _ATTEMPTS + 1):
            remaining_s = limit_s - (time.monotonic() - start_s)
            try:
                result = self._threads.submit(self._call, method, remaining_s, arguments).result(remaining_s)
            except SettingsError:
                raise
            except Exception as error:  # pymilvus raises those of gRPC, of sockets and its own
                if attempt == _ATTEMPTS or time.monotonic() - start_s > limit_s / 2:
                    self._breaker.failed()
                    why = f"no answer within {limit_s:g} s" if isinstance(error, TimeoutError) else _reason(error)
                    raise self._unavailable(f"{method}: {why}") from error
            else:
                self._breaker.succeeded()
                return result
        raise AssertionError

    def close(self) -> None:
        """Close the connection."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()
            if self.address.is_file:
                from milvus_lite.server_manager import server_manager_instance

                server_manager_instance.release_server(self.address.uri)

    def _call(self, method: str, timeout_s: float, arguments: dict[str, Any]) -> Any:
        return getattr(self._open(timeout_s), method)(timeout=timeout_s, **arguments)

    def _open(self, timeout_s: float) -> Any:
        with self._lock:
            if self._client is None:
                self._client = _client(self.address, self._access, timeout_s)
            return self._client

    def _unavailable(self, reason: str, wait_s: float = 1.0) -> StoreUnavailable:
        return StoreUnavailable(f"Milvus at {self.address.uri} is not available: {reason}", math.ceil(wait_s))


def _client(address: MilvusAddress, access: MilvusAccess, timeout_s: float) -> Any:
    try:
        from pymilvus import MilvusClient
    except ImportError as error:
        raise SettingsError(
            f"the vectors are in Milvus at {address.uri}, but pymilvus can't be imported ({error});"
            " install it with `pip install 'parecido[milvus]'`"
        ) from error
    secure: dict[str, Any] = {}
    if access.ca_file is not None:
        if not access.ca_file.is_file():
            raise SettingsError(f"PARECIDO_MILVUS_CA_FILE is {str(access.ca_file)!r}, which is not a file")
        secure["server_pem_path"] = str(access.ca_file)
    if access.server_name:
        secure["server_name"] = access.server_name
    return MilvusClient(
        address.uri,
        user=access.user,
        password=access.password,
        token=access.token,
        db_name=address.database,
        timeout=timeout_s,
        dedicated=not address.is_file,
        **secure,
    )


def _reason(error: Exception) -> str:
    """The message of an error in one line, without gRPC's internals."""
    text = str(getattr(error, "message", "") or error) or type(error).__name__
    return " ".join(text.split())[:300]
