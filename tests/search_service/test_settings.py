"""Settings: every variable by default, good and bad, and none that isn't one."""

from dataclasses import fields
from pathlib import Path

import pytest

from search_service.access.rate_limit import Rate
from search_service.settings import ServiceSettings
from shared.errors import SettingsError
from shared.images.limits import ImageLimits

_DEFAULTS = {
    "data": Path("data"),
    "host": "127.0.0.1",
    "port": 8080,
    "workers": 1,
    "threads": 8,
    "max_connections": 1000,
    "max_address_connections": 500,
    "inference_threads": None,
    "queue": 64,
    "queue_deadline_s": 2.0,
    "image_root": None,
    "max_upload_bytes": 20 * 1024 * 1024,
    "max_pixels": 50_000_000,
    "max_decode_bytes": 128 * 1024 * 1024,
    "max_top_k": 1000,
    "max_offset": 1000,
    "max_batch": 16,
    "max_batch_bytes": 64 * 1024 * 1024,
    "probe_coverage": 0.98,
    "query_views": 1,
    "poll_s": 1.0,
    "open_timeout_s": 60.0,
    "feedback": None,
    "api_keys": None,
    "rate_limit": None,
    "trusted_proxies": 0,
    "prefix": None,
    "cors_origins": None,
    "cors_headers": None,
    "image_url_hosts": None,
    "image_url_s": 5.0,
    "max_requests": 0,
    "grace_s": 30,
    "milvus_user": None,
    "milvus_password": None,
    "milvus_token": None,
    "milvus_ca_file": None,
    "milvus_server_name": None,
    "milvus_timeout_s": 2.0,
    "log_format": "auto",
    "log_level": "info",
}
_GOOD = {
    "data": [("/srv/data", Path("/srv/data")), (" with space ", Path("with space"))],
    "host": [("0.0.0.0", "0.0.0.0"), ("::1", "::1")],
    "port": [("0", 0), ("65535", 65535)],
    "workers": [("1", 1), ("256", 256)],
    "threads": [("1", 1), ("1024", 1024)],
    "max_connections": [("1", 1), ("100000", 100_000)],
    "max_address_connections": [("1", 1), ("100000", 100_000)],
    "inference_threads": [("1", 1), ("256", 256)],
    "queue": [("0", 0), ("1024", 1024)],
    "queue_deadline_s": [("0.01", 0.01), ("3600", 3600.0)],
    "image_root": [("images", Path("images"))],
    "max_upload_bytes": [("1", 1), ("2147483648", 2**31)],
    "max_pixels": [("1", 1), ("2147483648", 2**31)],
    "max_decode_bytes": [("1", 1), ("17179869184", 2**34)],
    "max_top_k": [("1", 1), ("100000", 100_000)],
    "max_offset": [("0", 0), ("100000", 100_000)],
    "max_batch": [("1", 1), ("1000", 1000)],
    "max_batch_bytes": [("1", 1), ("2147483648", 2**31)],
    "probe_coverage": [("0", 0.0), ("0.5", 0.5), ("1", 1.0)],
    "query_views": [("1", 1), ("2", 2)],
    "poll_s": [("0.01", 0.01), ("5", 5.0), ("3600", 3600.0)],
    "open_timeout_s": [("1", 1.0), ("3600", 3600.0)],
    "feedback": [("/srv/feedback.jsonl", Path("/srv/feedback.jsonl"))],
    "api_keys": [("/srv/keys", Path("/srv/keys"))],
    "rate_limit": [("10/s", Rate(10, 1)), ("600/min", Rate(600, 60)), (" 1/h ", Rate(1, 3600))],
    "trusted_proxies": [("0", 0), ("10", 10)],
    "prefix": [("/parecido", "/parecido"), (" /shop/a.b-c_d~/ ", "/shop/a.b-c_d~")],
    "cors_origins": [
        ("*", ("*",)),
        ("https://a.example, http://localhost:3000", ("https://a.example", "http://localhost:3000")),
        ("null,capacitor://localhost", ("null", "capacitor://localhost")),
    ],
    "cors_headers": [("*", ("*",)), ("X-Trace, x-datadog-origin", ("x-trace", "x-datadog-origin"))],
    "image_url_hosts": [("*", ("*",)), ("CDN.example.com,*.shop.example", ("cdn.example.com", "*.shop.example"))],
    "image_url_s": [("0.1", 0.1), ("60", 60.0)],
    "max_requests": [("0", 0), ("10000", 10_000)],
    "grace_s": [("1", 1), ("3600", 3600)],
    "milvus_user": [(" root ", "root")],
    "milvus_password": [("hush", "hush")],
    "milvus_token": [("root:hush", "root:hush")],
    "milvus_ca_file": [("/etc/ca.pem", Path("/etc/ca.pem"))],
    "milvus_server_name": [("milvus.example", "milvus.example")],
    "milvus_timeout_s": [("0.1", 0.1), ("60", 60.0)],
    "log_format": [("auto", "auto"), ("json", "json"), (" TEXT ", "text")],
    "log_level": [("debug", "debug"), ("WARNING", "warning"), ("error", "error")],
}
_BAD = {
    "data": ["", "  "],
    "host": ["", "  "],
    "port": ["abc", "", "-1", "65536", "80.5", "8080/tcp"],
    "workers": ["0", "257", "two"],
    "threads": ["0", "1025", "8.0"],
    "max_connections": ["0", "100001", "all"],
    "max_address_connections": ["0", "100001", ""],
    "inference_threads": ["0", "257", "x"],
    "queue": ["-1", "1025", "1.5", ""],
    "queue_deadline_s": ["0", "-1", "3601", "nan", "inf", "2s", ""],
    "image_root": ["", " "],
    "max_upload_bytes": ["0", "2147483649", "20M"],
    "max_pixels": ["0", "-5", "1e6"],
    "max_decode_bytes": ["0", "17179869185", "160M"],
    "max_top_k": ["0", "100001", "all"],
    "max_offset": ["-1", "100001", "1.5"],
    "max_batch": ["0", "1001", "many"],
    "max_batch_bytes": ["0", "2147483649", "64M"],
    "probe_coverage": ["-0.1", "1.1", "nan", "inf", "98%"],
    "query_views": ["0", "3", "on"],
    "poll_s": ["0", "-1", "0.001", "3601", "nan", "inf", "1s", ""],
    "open_timeout_s": ["0", "-1", "0.9", "3601", "nan", "inf", "1m", ""],
    "feedback": ["", " "],
    "api_keys": ["", " "],
    "rate_limit": ["", "10", "0/s", "10/d", "-1/s", "1.5/s", "10 / s"],
    "trusted_proxies": ["-1", "11", "all"],
    "prefix": [
        "",
        "/",
        "parecido",
        "//evil.example",
        "/a/../b",
        "/a b",
        "/caf\u00e9",
        "/a%2Fb",
        "/v1",
        "/docs/x",
        "/a?b",
        "/",
    ],
    "cors_origins": ["", ",", "shop.example", "https://shop.example/", "https://*.example", "https://*", "https://"],
    "cors_headers": ["", ",", "X Trace", "X-Trace:", "a\nb"],
    "image_url_hosts": ["", ",", "https://cdn.example.com", "a*.example", "cdn.example.com:8080", "a/b", "*.*"],
    "image_url_s": ["0", "61", "nan", "x"],
    "max_requests": ["-1", "all", "1.5"],
    "grace_s": ["0", "3601", "30s"],
    "milvus_user": [""],
    "milvus_password": ["", " "],
    "milvus_token": [""],
    "milvus_ca_file": [" "],
    "milvus_server_name": [""],
    "milvus_timeout_s": ["0", "61", "nan", "soon"],
    "log_format": ["", "xml", "json,text"],
    "log_level": ["", "trace", "10"],
}


def _cases(table: dict[str, list]) -> list[tuple]:
    return [(name, value) for name, values in table.items() for value in values]


def test_the_tables_above_are_complete() -> None:
    names = [field.name for field in fields(ServiceSettings)]
    assert list(_DEFAULTS) == list(_GOOD) == list(_BAD) == names


def test_defaults() -> None:
    settings = ServiceSettings.from_environment({"PATH": "/bin", "HOME": "/root", "XPARECIDO_PORT": "1"})
    assert {name: getattr(settings, name) for name in _DEFAULTS} == _DEFAULTS


@pytest.mark.parametrize(("name", "case"), _cases(_GOOD))
def test_a_good_value_changes_its_setting_alone(name, case) -> None:
    text, value = case
    settings = ServiceSettings.from_environment({f"PARECIDO_{name.upper()}": text})
    assert {name: getattr(settings, name) for name in _DEFAULTS} == {**_DEFAULTS, name: value}


@pytest.mark.parametrize(("name", "text"), _cases(_BAD))
def test_a_bad_value_is_named_with_its_variable(name, text) -> None:
    variable = f"PARECIDO_{name.upper()}"
    with pytest.raises(SettingsError) as caught:
        ServiceSettings.from_environment({variable: text})
    assert str(caught.value).startswith(f"{variable} is {text!r}; ")
    assert caught.value.exit_status == 2


@pytest.mark.parametrize("variable", ["PARECIDO_X", "PARECIDO_", "PARECIDO_PORTS", "PARECIDO_Port", "PARECIDO_port"])
def test_an_unknown_variable_is_refused(variable) -> None:
    with pytest.raises(SettingsError, match=f"^unknown setting {variable}; expected one of: PARECIDO_DATA, "):
        ServiceSettings.from_environment({variable: "1"})


@pytest.mark.parametrize(("cores", "workers", "wanted"), [(8, 1, 8), (8, 2, 4), (8, 3, 2), (2, 4, 1), (None, 1, 1)])
def test_processes_share_the_cores(monkeypatch, cores, workers, wanted) -> None:
    monkeypatch.setattr("search_service.settings.os.cpu_count", lambda: cores)
    assert ServiceSettings(workers=workers).slots == wanted + 1
    assert ServiceSettings(workers=workers).lone_threads == wanted
    assert ServiceSettings(workers=workers, inference_threads=3).lone_threads == 3


def test_image_limits_are_those_of_the_settings() -> None:
    assert ServiceSettings(max_upload_bytes=7, max_pixels=9, max_decode_bytes=5).image_limits == ImageLimits(7, 9, 5)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, False),
        ({"host": "localhost"}, False),
        ({"host": "127.3.2.1"}, False),
        ({"host": "::1"}, False),
        ({"host": "0.0.0.0"}, True),
        ({"host": "::"}, True),
        ({"host": "search.internal"}, True),
        ({"host": "0.0.0.0", "api_keys": Path("keys")}, False),
        ({"host": "0.0.0.0", "rate_limit": Rate(1, 1)}, False),
    ],
)
def test_it_is_exposed_where_others_reach_it_and_nothing_restrains_them(given, wanted) -> None:
    assert ServiceSettings(**given).is_exposed is wanted
