"""The OpenAPI document and the page made from it."""

import json
import re
from html.parser import HTMLParser

import jsonschema_rs
import pytest
from flask.testing import FlaskClient

from search_service.api.http_error import HTTP_CODES
from search_service.openapi import document as openapi
from search_service.settings import ServiceSettings
from shared.errors import ParecidoError


@pytest.fixture
def document(client: FlaskClient) -> dict:
    return client.get("/openapi.json").json


def _references(value: object) -> set[str]:
    return set(re.findall(r'"\$ref": "([^"]*)"', json.dumps(value)))


def test_every_route_is_in_the_document(client, document) -> None:
    served = {
        (re.sub(r"<(?:.*?:)?(.*?)>", r"{\1}", rule.rule), method.lower())
        for rule in client.application.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
        if not rule.endpoint.startswith("pages.")
    }
    assert {(path, method) for path, methods in document["paths"].items() for method in methods} == served


def test_every_reference_leads_somewhere_and_everything_is_referred_to(document) -> None:
    references = _references(document)
    for reference in references:
        found = document
        for step in reference.removeprefix("#/").split("/"):
            found = found[step]
    for kind in ("schemas", "responses", "headers"):
        for name in document["components"][kind]:
            assert f"#/components/{kind}/{name}" in references, name


def test_bounds_are_those_of_the_settings(document) -> None:
    assert document["components"]["schemas"]["SearchBody"]["properties"]["top_k"]["maximum"] == 50
    assert "x-" not in json.dumps(document["components"]["schemas"])


def test_errors_name_their_codes(document) -> None:
    assert "`unknown_item`, `unknown_category`" in document["components"]["responses"]["404"]["description"]
    assert "`filter_too_wide`, `not_implemented`" in document["components"]["responses"]["501"]["description"]
    assert "Retry-After" in document["components"]["responses"]["503"]["headers"]


def test_errors_of_http_belong_to_every_route_and_are_on_the_page_once(client, document) -> None:
    of_http = {*map(str, HTTP_CODES), "408", "413", "503"}
    for methods in document["paths"].values():
        assert all(of_http <= operation["responses"].keys() for operation in methods.values())
    page = client.get("/docs").text
    assert page.count("uri_too_long") == page.count("slow_client") == 1


def test_schemas_are_valid_json_schemas(document) -> None:
    for schema in document["components"]["schemas"].values():
        jsonschema_rs.meta.validate(schema)


def test_keys_are_described_where_the_service_has_errors_for_them(client, monkeypatch) -> None:
    class RejectReason(ParecidoError):
        code = "refused"

    monkeypatch.setattr(openapi, "STATUS", {**openapi.STATUS, RejectReason: 401})
    guarded = openapi.document(client.application, ServiceSettings())
    assert guarded["security"] == [{}, {"ApiKey": []}, {"Bearer": []}]
    assert "401" in guarded["paths"]["/v1/search"]["post"]["responses"]
    assert "401" not in guarded["paths"]["/healthz"]["get"]["responses"]
    assert guarded["components"]["responses"]["401"]["description"] == "Unauthorized: `key_required`, `refused`"


@pytest.mark.parametrize("path", ["/openapi.json", "/docs"])
def test_it_is_sent_again_only_when_it_has_changed(client, path) -> None:
    first = client.get(path)
    assert first.headers["Cache-Control"] == "no-cache"
    again = client.get(path, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


class _Loads(HTMLParser):
    """What a page loads, and where its links lead."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.ids: set[str] = set()
        self.links: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.add(tag)
        self.ids |= {given.get("id") or ""}
        self.links |= {given.get("href") or given.get("src") or ""}


def test_the_page_has_everything_and_needs_nothing_from_elsewhere(client, document) -> None:
    response = client.get("/docs")
    assert response.mimetype == "text/html"
    page = _Loads()
    page.feed(response.text)
    assert not page.tags & {"script", "link", "img", "iframe", "object"}
    assert "url(" not in response.text
    assert page.links - {"", "openapi.json"} <= {f"#{one}" for one in page.ids}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation["operationId"] in page.ids
            assert f"{method.upper()} {path}" in response.text
    for name in document["components"]["schemas"]["SearchBody"]["properties"]:
        assert f"<code>{name}</code>" in response.text


def test_the_page_may_use_its_own_style_alone(client) -> None:
    response = client.get("/docs")
    policy = response.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
