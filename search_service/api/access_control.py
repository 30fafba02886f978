"""Before a route runs: who asks, and whether too often."""

import ipaddress
import math

from flask import Flask, current_app, g, request

from search_service.access.api_keys import ApiKeys
from search_service.access.forwarded import client_network
from search_service.access.rate_limit import RateLimit
from search_service.api.operations import operation_of
from shared.errors import KeyRequired, RateLimited

_OF_PROXIES = ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Via")


def register_access_control(app: Flask, keys: ApiKeys | None, rate_limit: RateLimit | None) -> None:
    """Let in, to all but the open routes, who has a key, and nobody too often; None stands for not checking that."""
    app.extensions["api_keys"] = keys
    app.extensions["rate_limit"] = rate_limit
    app.before_request(_check)


def _check() -> None:
    view = current_app.view_functions.get(request.endpoint or "")
    operation = operation_of(view) if view is not None else None
    if operation is None or operation.is_open or request.method == "OPTIONS":
        return
    keys: ApiKeys | None = current_app.extensions["api_keys"]
    g.api_key_name = keys.name_of(_given_key()) if keys is not None else None
    rate_limit: RateLimit | None = current_app.extensions["rate_limit"]
    if rate_limit is not None and (wait_s := rate_limit.spend(client_name())) > 0:
        raise RateLimited(f"too many requests: ask again in {wait_s:.1f} s", retry_after_s=math.ceil(wait_s))
    if keys is not None and g.api_key_name is None:
        raise KeyRequired("an API key is wanted: `Authorization: Bearer KEY` or `X-API-Key: KEY`")


def is_operator() -> bool:
    """Whether who asks may be told what only operators need, such as paths of the machine.

    That is who has an API key; where there are none, who asks on the machine itself and not through a proxy.
    """
    keys: ApiKeys | None = current_app.extensions["api_keys"]
    if keys is not None:
        return keys.name_of(_given_key()) is not None
    if any(name in request.headers for name in _OF_PROXIES):
        return False
    try:
        address = ipaddress.ip_address(request.remote_addr or "")
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def charge_batch(requests: int) -> None:
    """Count the further queries of a batch against its caller's rate."""
    rate_limit: RateLimit | None = current_app.extensions["rate_limit"]
    if rate_limit is not None and requests > 0:
        rate_limit.owe(client_name(), requests)


def _given_key() -> str:
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else request.headers.get("X-API-Key", "")


def client_name() -> str:
    """The key, or the address; of an IPv6 address the /64 network, since a caller has all of it."""
    if g.get("api_key_name") is not None:
        return f"key {g.api_key_name}"
    return f"address {client_network(request.remote_addr or '')}"
