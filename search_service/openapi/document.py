"""The OpenAPI 3.1 document, made from the routes and the models of their requests and responses.

`@describe` attaches these to a view, whose docstring is the summary.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from typing import Any

from flask import Flask
from pydantic import TypeAdapter
from werkzeug.routing import Rule

from search_service.api.error_handlers import STATUS
from search_service.api.http_error import HTTP_CODES
from search_service.api.operations import Operation, operation_of
from search_service.api.responses.errors import ErrorJson, error_json
from search_service.settings import ServiceSettings
from shared import __version__
from shared.expected_values import with_limits

_Json = dict[str, Any]
_SCHEMAS = "#/components/schemas/"
_JSON = "application/json"
_HEADERS: _Json = {"X-Request-ID": {"$ref": "#/components/headers/X-Request-ID"}}
# Besides those of `shared/errors.py`.
_OTHER_CODES = {404: "not_found", 405: "method_not_allowed", 500: "internal", **HTTP_CODES}
_SECURITY: _Json = {
    "ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "Bearer": {"type": "http", "scheme": "bearer"},
}


def document(app: Flask, settings: ServiceSettings) -> _Json:
    """Return the document of all routes that are described."""
    described = list(_described(app))
    schemas = _Schemas([operation for _, _, operation in described], settings)
    paths: dict[str, _Json] = {}
    for rule, view, operation in described:
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            paths.setdefault(_path(rule), {})[method.lower()] = _operation(rule, view, operation, schemas)
    statuses = sorted({status for _, _, operation in described for status in operation.statuses})
    made: _Json = {
        "openapi": "3.1.0",
        "info": {
            "title": "Parecido",
            "summary": "Finds the products that look alike.",
            "description": "Responses are JSON unless stated otherwise. Fields that are null count as not given.",
            "version": __version__,
        },
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "responses": {str(status): _error(status) for status in statuses},
            "headers": {
                "X-Request-ID": {
                    "description": "The request's own where valid, else a new one; in error bodies and in the log too.",
                    "required": True,
                    "schema": {"type": "string"},
                }
            },
        },
    }
    if 401 in statuses:
        made["components"]["securitySchemes"] = _SECURITY
        made["security"] = [{}, *({name: []} for name in _SECURITY)]  # `{}`: a service may want no key
    return made


class _Schemas:
    """JSON schemas of all models, by name."""

    def __init__(self, operations: list[Operation], settings: ServiceSettings) -> None:
        self.settings = settings
        inlined = {model for one in operations for model in (one.arguments, one.form) if model}
        models = dict.fromkeys(
            [ErrorJson, *inlined, *(model for one in operations for model in (one.body, one.answer))]
        )
        self._references, definitions = TypeAdapter.json_schemas(
            [(model, "validation", TypeAdapter(model)) for model in models if model],
            ref_template=f"{_SCHEMAS}{{model}}",
        )
        self._all: _Json = {name: _tidy(with_limits(schema, settings)) for name, schema in definitions["$defs"].items()}
        self._inlined = {model.__name__ for model in inlined}

    @property
    def components(self) -> _Json:
        """Schemas that are referred to; the fields of the others are inlined."""
        return {name: schema for name, schema in self._all.items() if name not in self._inlined}

    def reference(self, model: Any) -> _Json:
        return self._references[model, "validation"]

    def properties(self, model: type) -> _Json:
        schema: _Json = self._all[model.__name__]
        properties: _Json = schema.get("properties", {})
        return properties


def _described(app: Flask) -> Iterator[tuple[Rule, Callable[..., Any], Operation]]:
    for rule in app.url_map.iter_rules():
        view = app.view_functions[rule.endpoint]
        operation = operation_of(view)
        if operation is not None:
            yield rule, view, operation


def _path(rule: Rule) -> str:
    return re.sub(r"<(?:[^<>]*:)?([^<>]*)>", r"{\1}", rule.rule)


def _operation(rule: Rule, view: Callable[..., Any], operation: Operation, schemas: _Schemas) -> _Json:
    summary, _, description = (view.__doc__ or "").partition("\n")
    made: _Json = {
        "operationId": rule.endpoint.split(".")[-1],
        "tags": [operation.tag],
        "summary": summary,
        "responses": _responses(operation, schemas),
    }
    if description.strip():
        made["description"] = re.sub(r"\n +", "\n", description).strip()
    parameters = [_in_path(name) for name in sorted(rule.arguments)]
    if operation.arguments:
        parameters += [_in_query(name, schema) for name, schema in schemas.properties(operation.arguments).items()]
    elif operation.form:
        options = schemas.properties(operation.form)
        parameters += [_in_query_or_body(name, schema) for name, schema in options.items()]
    if parameters:
        made["parameters"] = parameters
    if operation.body or operation.form:
        made["requestBody"] = {"required": True, "content": dict(_contents(operation, schemas))}
    return made


def _in_path(name: str) -> _Json:
    schema = {"type": "string", "minLength": 1}
    return {"name": name, "in": "path", "required": True, "description": "Percent-encoded.", "schema": schema}


def _in_query(name: str, schema: _Json) -> _Json:
    said = {"name": name, "in": "query", "description": schema.get("description", "")}
    if schema.get("type") == "object":
        return said | {"content": {_JSON: {"schema": schema}}}
    if schema.get("type") == "array":
        return said | {"style": "form", "explode": False, "schema": schema}
    return said | {"schema": schema}


def _in_query_or_body(name: str, schema: _Json) -> _Json:
    said = _in_query(name, schema)
    return said | {"description": f"{said['description']}; here or in the body, not in both"}


def _contents(operation: Operation, schemas: _Schemas) -> Iterator[tuple[str, _Json]]:
    if operation.form:
        file: _Json = {"type": "string", "format": "binary", "description": "An image file."}
        if operation.several_images:
            file = {"type": "array", "minItems": 1, "maxItems": schemas.settings.max_batch, "items": file}
        fields = {name: _as_text(schema) for name, schema in schemas.properties(operation.form).items()}
        yield (
            "multipart/form-data",
            {
                "schema": {
                    "type": "object",
                    "properties": {"image": file, **fields},
                    "required": ["image"],
                    "additionalProperties": False,
                }
            },
        )
    if operation.body:
        content: _Json = {"schema": schemas.reference(operation.body)}
        if operation.examples:
            content["examples"] = {name: {"value": value} for name, value in operation.examples}
        yield _JSON, content


def _as_text(schema: _Json) -> _Json:
    """Return the schema of a field as a form has it: objects and lists are text."""
    described = {"type": "string", "description": schema.get("description", "")}
    if schema.get("type") == "object":
        return described | {"contentMediaType": _JSON}
    if schema.get("type") == "array":
        return described | {"description": f"{described['description']}; separated by commas"}
    return schema


def _responses(operation: Operation, schemas: _Schemas) -> _Json:
    headers = _HEADERS | {name: _header(text) for name, text in operation.headers}
    good: _Json = {"description": HTTPStatus(operation.status).phrase, "headers": headers}
    if operation.answer:
        good["content"] = {_JSON: {"schema": schemas.reference(operation.answer)}}
    elif operation.media_types:
        good["content"] = {media_type: {} for media_type in operation.media_types}
    responses = {str(operation.status): good}
    responses |= {str(status): {"description": text, "headers": headers} for status, text in operation.others}
    return responses | {str(status): {"$ref": f"#/components/responses/{status}"} for status in operation.statuses}


def _header(description: str) -> _Json:
    return {"description": description, "schema": {"type": "string"}}


def _error(status: int) -> _Json:
    codes = [error.code for error, error_status in STATUS.items() if error_status == status]
    codes += [_OTHER_CODES[status]] if status in _OTHER_CODES else []
    phrase = HTTPStatus(status).phrase
    made: _Json = {
        "description": f"{phrase}: {', '.join(f'`{code}`' for code in codes)}" if codes else phrase,
        "headers": dict(_HEADERS),
        "content": {
            _JSON: {
                "schema": {"$ref": f"{_SCHEMAS}{ErrorJson.__name__}"},
                "example": error_json(codes[0] if codes else "error", "what was wrong; what was expected", "76d3e082"),
            }
        },
    }
    if status in (429, 503):
        made["headers"]["Retry-After"] = _header("Seconds after which to try again.")
    return made


def _tidy(schema: Any) -> Any:
    """Return a schema without titles, and without defaults that are null."""
    if isinstance(schema, list):
        return [_tidy(part) for part in schema]
    if not isinstance(schema, Mapping):
        return schema
    tidied: _Json = {}
    for name, value in schema.items():
        if name == "properties":
            tidied[name] = {field: _tidy(part) for field, part in value.items()}
        elif name not in ("title", "default") or (name == "default" and value is not None):
            tidied[name] = _tidy(value)
    return tidied
