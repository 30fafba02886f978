"""Resolution of host names in bounded time, and which addresses are public."""

import ipaddress
import socket
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from shared.errors import Overloaded

_UNICAST = ipaddress.ip_network("2000::/3")
# They embed an IPv4 address, or are for protocols: 6to4; Teredo, ORCHID and others.
_SPECIAL = (ipaddress.ip_network("2002::/16"), ipaddress.ip_network("2001::/23"))
_N_RESOLVERS = 8
_RETRY_AFTER_S = 5
_resolvers = ThreadPoolExecutor(_N_RESOLVERS, "resolve")  # a resolver has no time limit of its own
_free_resolvers = threading.BoundedSemaphore(_N_RESOLVERS)


def is_public_address(text: str) -> bool:
    """Return True for an address of the public internet that embeds no other address."""
    address = ipaddress.ip_address(text)
    if not address.is_global or address.is_multicast or address.is_reserved:
        return False
    return address.version == 4 or (address in _UNICAST and not any(address in network for network in _SPECIAL))


def resolve_host(host: str, port: int) -> list[str]:
    """Return the addresses of a host name, or of an address in any spelling."""
    return [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def resolve_within(
    seconds: float, host: str, port: int, resolve: Callable[[str, int], Sequence[str]] = resolve_host
) -> Sequence[str]:
    """Return `resolve(host, port)`.

    Raises:
        TimeoutError: it takes longer than `seconds`.
        Overloaded: all threads for it hang.
    """
    if not _free_resolvers.acquire(blocking=False):
        message = f"the service is busy: no host name can be resolved now; retry in {_RETRY_AFTER_S} s"
        raise Overloaded(message, _RETRY_AFTER_S)
    resolving: Future[Sequence[str]] = _resolvers.submit(resolve, host, port)
    resolving.add_done_callback(lambda _: _free_resolvers.release())
    return resolving.result(seconds)
