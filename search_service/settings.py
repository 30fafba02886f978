"""The service's settings, read once from the environment."""

import ipaddress
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from search_service.access.cors import parse_origin
from search_service.access.forwarded import parse_prefix
from search_service.access.rate_limit import Rate
from search_service.admission.controller import DEADLINE_S, QUEUE
from search_service.observability.logging_setup import FORMATS, LEVELS
from search_service.platform_variables import is_platform_variable
from shared.errors import SettingsError
from shared.images.limits import ImageLimits
from shared.milvus.address import MilvusAccess
from shared.model.classifier import PROBE_COVERAGE

_Value = TypeVar("_Value")
PREFIX = "PARECIDO_"
_BODY_EXTRA_BYTES = 1024 * 1024
_HELD_REQUESTS = 8
_HELD_EXTRA_BYTES = 256 * 1024  # most requests have few options


@dataclass(frozen=True)
class ServiceSettings:
    """What `PARECIDO_…` says; an attribute `max_top_k` is the variable `PARECIDO_MAX_TOP_K`.

    Attributes:
        data: the data directory that the indexer publishes into.
        host: address to listen on.
        port: port to listen on; 0 takes a free one.
        workers: processes.
        threads: requests of each kind that a process handles at once, beside queries by an image.
        inference_threads: threads within one inference that runs alone; None for one a core of the process's share.
        max_connections: open connections of a process; one more takes the place of one that only waits.
        max_address_connections: likewise, of one address.
        queue: queries that wait in a process, beside those that are embedded.
        queue_deadline_s: seconds that a query waits at most.
        image_root: where the catalogue's images lie; None for where they lay when it was indexed.
        max_upload_bytes: larger query images are refused.
        max_pixels: query images with more pixels are refused, before they are decoded.
        max_decode_bytes: query images that take more memory to decode are refused, before they are decoded.
        max_top_k: the most hits that a request may want.
        max_offset: the most hits that a request may leave out in front.
        max_batch: the most queries in one batch.
        max_batch_bytes: batches whose images are larger together are refused.
        probe_coverage: for what share of the queries `probe: auto` searches the right category.
        query_views: of each query image that are embedded: 1 for itself, 2 for its mirror image too.
        poll_s: seconds between two looks at which snapshot is published.
        open_timeout_s: seconds that opening a snapshot may take.
        feedback: the file that feedback is appended to; None for taking none.
        api_keys: the file of the API keys that are let in; None for letting in everybody.
        rate_limit: how often a key, or an address without one, may ask; None for as often as it likes.
        trusted_proxies: proxies in front of the service, whose `X-Forwarded-For` says who asks, and whose
            `X-Forwarded-Prefix` says below which path.
        prefix: path that the service is found below, as `/parecido`; None for none.
        cors_origins: web pages whose scripts may read answers, as `cors.parse_origin` returns them; `*` for all.
        cors_headers: request headers that those scripts may send besides the usual ones; `*` for all.
        image_url_hosts: hosts that query images are fetched from; `*.example.com` for all below one, `*` for any.
        image_url_s: seconds that fetching the images of a request may take.
        max_requests: after so many, and up to a tenth more, a worker is replaced by a new one; 0 for never.
        grace_s: seconds that requests in flight have when the service stops.
        milvus_user: where the vectors are in Milvus: a name.
        milvus_password: its password.
        milvus_token: in the place of both.
        milvus_ca_file: certificates to check the server's by; None for those that gRPC brings along.
        milvus_server_name: that the server's certificate is for, where it is another than the address's.
        milvus_timeout_s: seconds that a search may take there.
        log_format: `json`, `text`, or `auto` for text on a terminal and JSON elsewhere.
        log_level: the least that is logged.
    """

    data: Path = Path("data")
    host: str = "127.0.0.1"
    port: int = 8080
    workers: int = 1
    threads: int = 8
    max_connections: int = 1000
    max_address_connections: int = 500
    inference_threads: int | None = None
    queue: int = QUEUE
    queue_deadline_s: float = DEADLINE_S
    image_root: Path | None = None
    max_upload_bytes: int = 20 * 1024 * 1024
    max_pixels: int = 50_000_000
    max_decode_bytes: int = 128 * 1024 * 1024
    max_top_k: int = 1000
    max_offset: int = 1000
    max_batch: int = 16
    max_batch_bytes: int = 64 * 1024 * 1024
    probe_coverage: float = PROBE_COVERAGE
    query_views: int = 1
    poll_s: float = 1.0
    open_timeout_s: float = 60.0
    feedback: Path | None = None
    api_keys: Path | None = None
    rate_limit: Rate | None = None
    trusted_proxies: int = 0
    prefix: str | None = None
    cors_origins: tuple[str, ...] | None = None
    cors_headers: tuple[str, ...] | None = None
    image_url_hosts: tuple[str, ...] | None = None
    image_url_s: float = 5.0
    max_requests: int = 0
    grace_s: int = 30
    milvus_user: str | None = None
    milvus_password: str | None = field(default=None, repr=False)
    milvus_token: str | None = field(default=None, repr=False)
    milvus_ca_file: Path | None = None
    milvus_server_name: str | None = None
    milvus_timeout_s: float = 2.0
    log_format: str = "auto"
    log_level: str = "info"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "ServiceSettings":
        """Read every setting that is there, and pass over what a platform sets beside a service of that name.

        Raises:
            SettingsError: a value that can't be, or a `PARECIDO_…` variable that is no setting.
        """
        known = {PREFIX + name.upper(): name for name in _READERS}
        ours = [key for key in environment if key.startswith(PREFIX) and not is_platform_variable(key, environment)]
        unknown = [key for key in ours if key not in known]
        if unknown:
            raise SettingsError(f"{unknown[0]} is no setting; there are {', '.join(known)}")
        values: dict[str, Any] = {known[key]: _read(known[key], environment[key]) for key in ours}
        return cls(**values)

    @property
    def cores(self) -> int:
        """Of a process: its share."""
        return max(1, (os.cpu_count() or 1) // self.workers)

    @property
    def slots(self) -> int:
        """Images that a process decodes and embeds at once: one a core, and one for while another waits for Python."""
        return self.cores + 1

    @property
    def lone_threads(self) -> int:
        """Threads within one inference while no other runs."""
        return self.inference_threads or self.cores

    @property
    def is_exposed(self) -> bool:
        """Whether others than this machine may reach it, and nothing restrains them."""
        try:
            is_local = ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            is_local = self.host == "localhost"
        return not is_local and self.api_keys is None and self.rate_limit is None

    @property
    def max_body_bytes(self) -> int:
        """Of a request with one image."""
        return _in_base64(self.max_upload_bytes)

    @property
    def max_batch_body_bytes(self) -> int:
        """Of a request with several."""
        return _in_base64(max(self.max_batch_bytes, self.max_upload_bytes))

    @property
    def max_held_bytes(self) -> int:
        """Of all requests that a process has or is receiving."""
        image, batch = self.max_upload_bytes * 4 // 3, max(self.max_batch_bytes, self.max_upload_bytes) * 4 // 3
        return max(_HELD_REQUESTS * (image + _HELD_EXTRA_BYTES), 2 * (batch + _HELD_EXTRA_BYTES))

    @property
    def max_held_address_bytes(self) -> int:
        """Of those of one address: three quarters, and the largest request at least; the rest is for others."""
        return max(self.max_held_bytes * 3 // 4, self.max_batch_body_bytes, self.max_body_bytes)

    @property
    def milvus(self) -> MilvusAccess:
        """How one gets into Milvus."""
        return MilvusAccess(
            self.milvus_user or "",
            self.milvus_password or "",
            self.milvus_token or "",
            self.milvus_ca_file,
            self.milvus_server_name or "",
            self.milvus_timeout_s,
        )

    @property
    def image_limits(self) -> ImageLimits:
        """What query images are refused for."""
        return ImageLimits(self.max_upload_bytes, self.max_pixels, self.max_decode_bytes)


def _in_base64(image_bytes: int) -> int:
    """Base64 is a third longer, with line breaks a sixteenth more, and there are options and part headers."""
    return image_bytes * 4 // 3 * 17 // 16 + _BODY_EXTRA_BYTES


def _whole(least: int, most: int) -> Callable[[str], int]:
    return lambda text: _between(int(text), least, most)


def _between(value: _Value, least: _Value, most: _Value) -> _Value:
    if not least <= value <= most:  # type: ignore[operator]
        raise ValueError(f"wanted {least} to {most}")
    return value


def _listed(text: str) -> tuple[str, ...]:
    values = tuple(value.strip().lower() for value in text.split(",") if value.strip())
    if not values:
        raise ValueError("expected at least one value")
    return values


def _list_of(pattern: str, wanted: str) -> Callable[[str], tuple[str, ...]]:
    def read(text: str) -> tuple[str, ...]:
        values = _listed(text)
        bad = [value for value in values if not re.fullmatch(pattern, value)]
        if bad:
            raise ValueError(f"wanted {wanted}, separated by commas")
        return values

    return read


def _one_of(*words: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text.strip().lower() not in words:
            raise ValueError(f"wanted one of {', '.join(words)}")
        return text.strip().lower()

    return read


def _text(text: str) -> str:
    if not text.strip():
        raise ValueError("wanted something")
    return text.strip()


_READERS: Mapping[str, Callable[[str], object]] = {
    "data": lambda text: Path(_text(text)),
    "host": _text,
    "port": _whole(0, 65_535),
    "workers": _whole(1, 256),
    "threads": _whole(1, 1024),
    "max_connections": _whole(1, 100_000),
    "max_address_connections": _whole(1, 100_000),
    "inference_threads": _whole(1, 256),
    "queue": _whole(0, 1024),
    "queue_deadline_s": lambda text: _between(float(text), 0.01, 3600.0),
    "image_root": lambda text: Path(_text(text)),
    "max_upload_bytes": _whole(1, 2**31),
    "max_pixels": _whole(1, 2**31),
    "max_decode_bytes": _whole(1, 2**34),
    "max_top_k": _whole(1, 100_000),
    "max_offset": _whole(0, 100_000),
    "max_batch": _whole(1, 1000),
    "max_batch_bytes": _whole(1, 2**31),
    "probe_coverage": lambda text: _between(float(text), 0.0, 1.0),
    "query_views": _whole(1, 2),
    "poll_s": lambda text: _between(float(text), 0.01, 3600.0),
    "open_timeout_s": lambda text: _between(float(text), 1.0, 3600.0),
    "feedback": lambda text: Path(_text(text)),
    "api_keys": lambda text: Path(_text(text)),
    "rate_limit": Rate.parse,
    "trusted_proxies": _whole(0, 10),
    "prefix": parse_prefix,
    "cors_origins": lambda text: tuple(map(parse_origin, _listed(text))),
    "cors_headers": _list_of(r"\*|[a-z0-9!#$%&'*+.^_`|~-]+", "names of headers, or *"),
    "image_url_hosts": _list_of(r"\*|(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*", "names of hosts, *.example.com or *"),
    "image_url_s": lambda text: _between(float(text), 0.1, 60.0),
    "max_requests": _whole(0, 2**31),
    "grace_s": _whole(1, 3600),
    "milvus_user": _text,
    "milvus_password": _text,
    "milvus_token": _text,
    "milvus_ca_file": lambda text: Path(_text(text)),
    "milvus_server_name": _text,
    "milvus_timeout_s": lambda text: _between(float(text), 0.1, 60.0),
    "log_format": _one_of(*FORMATS),
    "log_level": _one_of(*LEVELS),
}


def _read(name: str, text: str) -> object:
    try:
        return _READERS[name](text)
    except ValueError as error:
        raise SettingsError(f"{PREFIX}{name.upper()} is {text!r}: {error}") from error
