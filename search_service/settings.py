"""The settings of the service: declared once, and read once from the environment."""

import ipaddress
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import Field

from search_service.access.cors import parse_origin
from search_service.access.forwarded import parse_prefix
from search_service.access.rate_limit import Rate
from search_service.admission.controller import DEADLINE_S, QUEUE
from search_service.environment import read_environment
from search_service.observability.logging_setup import FORMATS, LEVELS
from shared.images.limits import ImageLimits
from shared.milvus.address import MilvusAccess
from shared.model.classifier import PROBE_COVERAGE
from shared.options import Help, OneOf, Parse, options_of

_BODY_EXTRA_BYTES = 1024 * 1024
_HELD_REQUESTS = 8
_HELD_EXTRA_BYTES = 256 * 1024  # most requests have few options


def _list_of(parse: Callable[[str], str]) -> Callable[[str], tuple[str, ...]]:
    def parse_list(text: str) -> tuple[str, ...]:
        values = tuple(parse(value.strip().lower()) for value in text.split(",") if value.strip())
        if not values:
            raise ValueError("expected at least one value")
        return values

    return parse_list


def _matching(pattern: str, expected: str) -> Parse:
    """Parse values that match a pattern, separated by commas."""

    def parse(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"expected {expected}")
        return text

    return Parse(_list_of(parse), expected)


@dataclass(frozen=True)
class ServiceSettings:
    """The settings; the attribute `max_top_k` is the variable `PARECIDO_MAX_TOP_K`."""

    data: Annotated[Path, Help("the data directory that the indexer publishes into")] = Path("data")
    host: Annotated[str, Help("the address to listen on")] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535), Help("the port to listen on; 0 takes a free one")] = 8080
    workers: Annotated[int, Field(ge=1, le=256), Help("worker processes")] = 1
    threads: Annotated[
        int,
        Field(ge=1, le=1024),
        Help("requests of each kind that a worker handles at once, besides queries by an image"),
    ] = 8
    max_connections: Annotated[
        int,
        Field(ge=1, le=100_000),
        Help(
            "open connections of a worker; a further one replaces one that only waits",
            see="how-to/security.md#what-an-attacker-can-and-cannot-do",
        ),
    ] = 1000
    max_address_connections: Annotated[
        int,
        Field(ge=1, le=100_000),
        Help("open connections of one address to a worker, unless there are trusted proxies"),
    ] = 500
    inference_threads: Annotated[
        int | None,
        Field(ge=1, le=256),
        Help("threads of an inference that runs alone; while others run, each has one", default="one per core"),
    ] = None
    queue: Annotated[
        int,
        Field(ge=0, le=1024),
        Help("queries by an image that wait in a worker; further ones get status 503", see="how-to/load.md"),
    ] = QUEUE
    queue_deadline_s: Annotated[
        float, Field(ge=0.01, le=3600), Help("maximum time that a query by an image waits, in seconds")
    ] = DEADLINE_S
    image_root: Annotated[
        Path | None, Help("the directory of the catalogue's images", default="where they were indexed")
    ] = None
    max_upload_bytes: Annotated[int, Field(ge=1, le=2**31), Help("maximum size of a query image, in bytes")] = (
        20 * 1024 * 1024
    )
    max_pixels: Annotated[
        int, Field(ge=1, le=2**31), Help("maximum pixels of a query image, checked before decoding")
    ] = 50_000_000
    max_decode_bytes: Annotated[
        int,
        Field(ge=1, le=2**34),
        Help(
            "maximum memory for decoding a query image, in bytes, checked before decoding",
            see="how-to/security.md#what-the-service-reads",
        ),
    ] = 128 * 1024 * 1024
    max_top_k: Annotated[int, Field(ge=1, le=100_000), Help("maximum `top_k` of a search")] = 1000
    max_offset: Annotated[int, Field(ge=0, le=100_000), Help("maximum `offset` of a search")] = 1000
    max_batch: Annotated[int, Field(ge=1, le=1000), Help("maximum number of queries in a batch")] = 16
    max_batch_bytes: Annotated[
        int, Field(ge=1, le=2**31), Help("maximum size of all images of a batch together, in bytes")
    ] = 64 * 1024 * 1024
    probe_coverage: Annotated[
        float, Field(ge=0, le=1), Help("the share of queries for which `probe: auto` searches the right category")
    ] = PROBE_COVERAGE
    query_views: Annotated[
        int,
        Field(ge=1, le=2),
        Help(
            "2 embeds the mirror image of a query image too, with a second forward pass",
            see="explanation/relevance.md#the-right-category",
        ),
    ] = 1
    poll_s: Annotated[float, Field(ge=0.01, le=3600), Help("seconds between checks for a newly published snapshot")] = (
        1.0
    )
    open_timeout_s: Annotated[
        float, Field(ge=1, le=3600), Help("maximum time for opening a snapshot, in seconds; then it is rejected")
    ] = 60.0
    feedback: Annotated[
        Path | None,
        Help(
            "the file that `POST /v1/feedback` appends to; it may lie outside the data directory",
            default="off",
            see="how-to/feedback.md",
        ),
    ] = None
    api_keys: Annotated[
        Path | None,
        Help(
            "the file of the API keys that are accepted",
            default="off",
            see="how-to/access.md#api-keys-and-the-rate-limit",
        ),
    ] = None
    rate_limit: Annotated[
        Rate | None,
        Parse(Rate.parse, "a rate such as `10/s`, `600/min` or `1000/h`"),
        Help("maximum rate of requests per API key, or per address without one", default="off"),
    ] = None
    trusted_proxies: Annotated[
        int,
        Field(ge=0, le=10),
        Help(
            "proxies in front of the service whose `X-Forwarded-For` and `X-Forwarded-Prefix` are trusted",
            see="how-to/access.md#behind-a-proxy",
        ),
    ] = 0
    prefix: Annotated[
        str | None,
        Parse(parse_prefix, "a path such as `/parecido`"),
        Help("the path below which the service is reached", default="off", see="how-to/access.md#behind-a-proxy"),
    ] = None
    cors_origins: Annotated[
        tuple[str, ...] | None,
        Parse(_list_of(parse_origin), "origins such as `https://shop.example`, separated by commas, or `*`"),
        Help("origins whose scripts may read answers", default="off", see="how-to/access.md#scripts-of-other-sites"),
    ] = None
    cors_headers: Annotated[
        tuple[str, ...] | None,
        _matching(r"\*|[a-z0-9!#$%&'*+.^_`|~-]+", "names of headers, separated by commas, or `*`"),
        Help("request headers that these scripts may send besides the usual ones", default="off"),
    ] = None
    image_url_hosts: Annotated[
        tuple[str, ...] | None,
        _matching(
            r"\*|(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*",
            "names of hosts, separated by commas, `*.example.com` for all below one, or `*`",
        ),
        Help("hosts from which `image_url` may be fetched", default="off", see="how-to/access.md#image-urls"),
    ] = None
    image_url_s: Annotated[
        float, Field(ge=0.1, le=60), Help("maximum time for fetching the images of a request, in seconds")
    ] = 5.0
    max_requests: Annotated[
        int,
        Field(ge=0, le=2**31),
        Help("requests, and up to a tenth more, after which a worker is replaced without losing one; 0 for never"),
    ] = 0
    grace_s: Annotated[
        int, Field(ge=1, le=3600), Help("seconds that requests in flight have when the service stops")
    ] = 30
    milvus_user: Annotated[
        str | None,
        Help(
            "the user name in Milvus; the indexer reads this and the next four too",
            see="how-to/outgrow-one-machine.md",
        ),
    ] = None
    milvus_password: Annotated[str | None, Help("the password in Milvus")] = field(default=None, repr=False)
    milvus_token: Annotated[str | None, Help("the token for Milvus, instead of user name and password")] = field(
        default=None, repr=False
    )
    milvus_ca_file: Annotated[
        Path | None, Help("certificates that Milvus is verified by, in PEM", default="those of gRPC")
    ] = None
    milvus_server_name: Annotated[
        str | None, Help("the name in the certificate of Milvus", default="the host of the address")
    ] = None
    milvus_timeout_s: Annotated[float, Field(ge=0.1, le=60), Help("maximum time of a search in Milvus, in seconds")] = (
        2.0
    )
    log_format: Annotated[
        str, OneOf(FORMATS), Help("the format of the log; `auto` is text on a terminal and JSON elsewhere")
    ] = "auto"
    log_level: Annotated[str, OneOf(LEVELS), Help("the lowest level that is logged")] = "info"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "ServiceSettings":
        """Read the settings that are set; variables of a platform are ignored.

        Raises:
            SettingsError: a value is not valid, or a variable `PARECIDO_…` is not a setting.
        """
        return cls(**read_environment(options_of(cls), environment))

    @property
    def cores(self) -> int:
        """Number of cores that a worker may use: its share."""
        return max(1, (os.cpu_count() or 1) // self.workers)

    @property
    def slots(self) -> int:
        """Number of images that a worker decodes and embeds at once: cores, and one that waits for the GIL."""
        return self.cores + 1

    @property
    def lone_threads(self) -> int:
        """Number of threads of an inference while no other one runs."""
        return self.inference_threads or self.cores

    @property
    def is_exposed(self) -> bool:
        """True if other machines can reach the service and neither API keys nor a rate limit are set."""
        try:
            is_local = ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            is_local = self.host == "localhost"
        return not is_local and self.api_keys is None and self.rate_limit is None

    @property
    def max_body_bytes(self) -> int:
        """Maximum size of a request with one image."""
        return _in_base64(self.max_upload_bytes)

    @property
    def max_batch_body_bytes(self) -> int:
        """Maximum size of a request with several images."""
        return _in_base64(max(self.max_batch_bytes, self.max_upload_bytes))

    @property
    def max_held_bytes(self) -> int:
        """Maximum size of all requests that a worker holds or receives."""
        image, batch = self.max_upload_bytes * 4 // 3, max(self.max_batch_bytes, self.max_upload_bytes) * 4 // 3
        return max(_HELD_REQUESTS * (image + _HELD_EXTRA_BYTES), 2 * (batch + _HELD_EXTRA_BYTES))

    @property
    def max_held_address_bytes(self) -> int:
        """Maximum size of those of one address: three quarters, so that others have the rest; at least one request."""
        return max(self.max_held_bytes * 3 // 4, self.max_batch_body_bytes, self.max_body_bytes)

    @property
    def milvus(self) -> MilvusAccess:
        """Milvus credentials and timeouts."""
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
        """Limits above which query images are rejected."""
        return ImageLimits(self.max_upload_bytes, self.max_pixels, self.max_decode_bytes)


def _in_base64(image_bytes: int) -> int:
    """Return the size of a body: base64 is a third longer, its line breaks a sixteenth, and there are options."""
    return image_bytes * 4 // 3 * 17 // 16 + _BODY_EXTRA_BYTES
