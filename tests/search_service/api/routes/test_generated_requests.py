"""Schemathesis over the whole OpenAPI document: whatever is asked, rightly or wrongly, the answers keep to it.

Random ids and images find nothing, so what is asked rightly is drawn from the catalogue: ids, categories and images.
"""

import base64
import copy
import os
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from search_service.app import create_app
from search_service.engine.engine import Engine
from search_service.engine.feedback_log import FeedbackLog
from search_service.observability.metrics import Metrics
from search_service.settings import ServiceSettings
from search_service.snapshots.watcher import SnapshotWatcher

_CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
]
_CASES = int(os.environ.get("API_FUZZ_CASES", "1000"))
_DIM = 8

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def app(described, watch_on: Callable[[Engine], SnapshotWatcher], tmp_path_factory) -> Flask:
    limits = ServiceSettings(max_upload_bytes=100_000, max_batch_bytes=400_000)
    feedback = FeedbackLog(tmp_path_factory.mktemp("fuzz") / "feedback.jsonl")
    return create_app(watch_on(Engine(described, limits.image_limits)), limits, Metrics(0.98), feedback)


@pytest.fixture(scope="module")
def document(app) -> dict:
    return app.test_client().get("/openapi.json").json


@pytest.fixture(scope="module")
def matching(document, catalogue) -> dict:
    """The document, with requests that fit the catalogue."""
    ids = [item.item_id for item in catalogue.items() if item.item_id != ".."]  # clients take `..` out of a path
    images = [catalogue.image(item_id) for item_id in ids]
    schemathesis.openapi.format("tiny_image", st.sampled_from([base64.b64encode(one).decode() for one in images]))
    narrowed = {
        "item_id": {"type": "string", "enum": ids},
        "clicked_item_id": {"type": "string", "enum": ids},
        "category": {"type": "string", "enum": [catalogue.hats, catalogue.mugs]},
        "image_base64": {"type": "string", "format": "tiny_image"},
        "embedding": {
            "type": "array",
            "items": {"type": "number", "minimum": 0.1, "maximum": 1},
            "minItems": _DIM,
            "maxItems": _DIM,
        },
        "text": {"type": "string", "enum": ["red", "Gren mugs", "originals pink", "zapatos niños"]},
        "group_by": {"type": "string", "enum": ["price", "glazed", "sizes"]},
    }
    narrow = copy.deepcopy(document)
    schemas = narrow["components"]["schemas"]
    for properties in (schemas[name]["properties"] for name in schemas if name.endswith("Body")):
        properties |= {name: schema for name, schema in narrowed.items() if name in properties}
    for methods in narrow["paths"].values():
        for parameter in (one for operation in methods.values() for one in operation.get("parameters", [])):
            if parameter["name"] in narrowed:
                parameter["schema"] = narrowed[parameter["name"]]
    return narrow


def _closing(app: Flask) -> Callable[..., list[bytes]]:
    """The application, with answers read to their end and closed, which Schemathesis leaves to chance."""

    def call(*arguments: Any) -> list[bytes]:
        with closing(app(*arguments)) as parts:
            return list(parts)

    return call


def _ask_all(document: dict, app: Flask, mode: GenerationMode, n_cases: int) -> Counter[int]:
    """Statuses of the answers; a failed check raises with a `curl` that repeats it."""
    schema = schemathesis.openapi.from_dict(document)
    schema.app = _closing(app)
    operations = [found.ok() for found in schema.get_all_operations()]
    varied = [one for one in operations if one.body or one.path_parameters or one.query]
    statuses: Counter[int] = Counter()
    for operation in varied if mode is GenerationMode.NEGATIVE else operations:

        @settings(
            max_examples=-(-n_cases // len(varied)),
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: schemathesis.Case) -> None:
            statuses[case.call_and_validate(checks=_CHECKS).status_code] += 1

        ask()
    return statuses


def test_answers_keep_to_the_document(document, matching, app) -> None:
    # A route that takes little but an item's id has fewer right cases than its share, so more are asked for.
    right = _ask_all(matching, app, GenerationMode.POSITIVE, _CASES * 5 // 8)
    wrong = _ask_all(document, app, GenerationMode.NEGATIVE, _CASES // 2)
    assert right.total() + wrong.total() >= _CASES
    assert right[200] > _CASES // 5  # or else little but refusals was checked
    assert sum(count for status, count in wrong.items() if status >= 400) > _CASES // 3
