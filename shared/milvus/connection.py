"""The one place that speaks to Milvus: time limits, retries of what may be asked twice, and a circuit breaker.

pymilvus is imported when the first connection is made: who keeps vectors in snapshots neither has nor needs it.
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
# pymilvus mends a lost connection under one lock, so that several threads would wait for it one after the other, far
# beyond their time limits: calls run in threads of their own, and whoever called leaves in time.
_THREADS = 16


class MilvusConnection:
    """To one server; safe to use from any number of threads, but not over a fork."""

    def __init__(self, address: MilvusAddress, access: MilvusAccess, breaker: CircuitBreaker | None = None) -> None:
        """Nothing is opened before the first call.

        Args:
            address: of the server.
            access: to it.
            breaker: decides whether the server is asked at all.
        """
        self.address = address
        self._access = access
        self._breaker = breaker or CircuitBreaker()
        self._lock = threading.Lock()
        self._client: Any = None
        self._threads = ThreadPoolExecutor(_THREADS, "milvus")  # started when they are first needed

    def call(self, method: str, timeout_s: float | None = None, **arguments: Any) -> Any:
        """Call a method of pymilvus's client, and once more where it fails soon: use it for what may be done twice.

        Args:
            method: its name.
            timeout_s: seconds that it may take; None for what the access says.
            arguments: its own.

        Raises:
            StoreUnavailable: there is no answer in time, or Milvus can't do it now.
            SettingsError: pymilvus is not installed.
        """
        from_now = time.monotonic()
        limit = timeout_s or self._access.timeout_s
        wait_s = self._breaker.wait_s()
        if wait_s > 0:
            raise self._unavailable("it did not answer before, and is asked again soon", wait_s)
        for attempt in range(1, _ATTEMPTS + 1):
            left = limit - (time.monotonic() - from_now)
            try:
                result = self._threads.submit(self._ask, method, left, arguments).result(left)
            except SettingsError:
                raise
            except Exception as error:  # pymilvus lets those of gRPC, sockets and its own through
                if attempt == _ATTEMPTS or time.monotonic() - from_now > limit / 2:
                    self._breaker.failed()
                    why = f"no answer within {limit:g} s" if isinstance(error, TimeoutError) else _reason(error)
                    raise self._unavailable(f"{method}: {why}") from error
            else:
                self._breaker.succeeded()
                return result
        raise AssertionError

    def close(self) -> None:
        """Let go of it."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()
            if self.address.is_file:
                from milvus_lite.server_manager import server_manager_instance

                server_manager_instance.release_server(self.address.uri)

    def _ask(self, method: str, timeout_s: float, arguments: dict[str, Any]) -> Any:
        return getattr(self._open(timeout_s), method)(timeout=timeout_s, **arguments)

    def _open(self, timeout_s: float) -> Any:
        with self._lock:
            if self._client is None:
                self._client = _client(self.address, self._access, timeout_s)
            return self._client

    def _unavailable(self, reason: str, wait_s: float = 1.0) -> StoreUnavailable:
        return StoreUnavailable(f"Milvus at {self.address.uri} can't be used now: {reason}", math.ceil(wait_s))


def _client(address: MilvusAddress, access: MilvusAccess, timeout_s: float) -> Any:
    try:
        from pymilvus import MilvusClient
    except ImportError as error:
        raise SettingsError(
            f"vectors are in Milvus at {address.uri}, and pymilvus can't be imported ({error}):"
            " install it with `pip install 'parecido[milvus]'`"
        ) from error
    secure: dict[str, Any] = {}
    if access.ca_file is not None:
        if not access.ca_file.is_file():
            raise SettingsError(f"PARECIDO_MILVUS_CA_FILE is {str(access.ca_file)!r}, which is no file")
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
    """In one line, without what gRPC tells of its insides."""
    text = str(getattr(error, "message", "") or error) or type(error).__name__
    return " ".join(text.split())[:300]
