"""Access control of the routes: API keys and rate limits."""

import ipaddress
import math

from flask import Flask, current_app, g, request

from search_service.access.api_keys import ApiKeys
from search_service.access.forwarded import client_network
from search_service.access.rate_limit import RateLimit
from search_service.api.operations import operation_of
from shared.errors import KeyRequired, RateLimited

_PROXY_HEADERS = ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Via")


def register_access_control(app: Flask, keys: ApiKeys | None, rate_limit: RateLimit | None) -> None:
    """Check the API key and the rate limit before each route that is not open; None turns a check off."""
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
    if rate_limit is not None and (wait_s := rate_limit.acquire(client_name())) > 0:
        raise RateLimited(f"rate limit exceeded; retry in {wait_s:.1f} s", retry_after_s=math.ceil(wait_s))
    if keys is not None and g.api_key_name is None:
        raise KeyRequired("API key required: send `Authorization: Bearer KEY` or `X-API-Key: KEY`")


def is_operator() -> bool:
    """Return True if the client may see operator details, such as file paths.

    That is a client with an API key or, if the service has none, one on the same machine and not behind a proxy.
    """
    keys: ApiKeys | None = current_app.extensions["api_keys"]
    if keys is not None:
        return keys.name_of(_given_key()) is not None
    if any(name in request.headers for name in _PROXY_HEADERS):
        return False
    try:
        address = ipaddress.ip_address(request.remote_addr or "")
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def charge_batch(requests: int) -> None:
    """Count the further queries of a batch against the rate limit of its client."""
    rate_limit: RateLimit | None = current_app.extensions["rate_limit"]
    if rate_limit is not None and requests > 0:
        rate_limit.charge(client_name(), requests)


def _given_key() -> str:
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else request.headers.get("X-API-Key", "")


def client_name() -> str:
    """Return the name of the client: of its API key, or its network."""
    if g.get("api_key_name") is not None:
        return f"key {g.api_key_name}"
    return f"address {client_network(request.remote_addr or '')}"
