"""What requests may say, as typed models: they check bodies, forms and query strings, and describe them in OpenAPI.

JSON holds typed values; forms and query strings hold text, which `check_fields.py` turns into these first.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    SkipValidation,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue, SkipJsonSchema
from pydantic_core import CoreSchema, core_schema

from shared.catalogue.metadata_filter import MAX_CONDITIONS, MAX_VALUES
from shared.retrieval.ood_verdict import OnUnknown
from shared.retrieval.search_options import DEFAULT_TOP_K

MAX_EXAMPLES = 12
NotGiven: TypeAlias = SkipJsonSchema[None]
MAXIMUM_SETTING = "x-maximum-setting"
Text: TypeAlias = Annotated[str, Field(min_length=1)]

WANTED = {
    "image_base64": "the bytes of an image file in base64",
    "image_url": "the URL of an image file",
    "item_id": "the id of an item",
    "embedding": "a list of numbers",
    "top_k": "a whole number from 1 to {max_top_k}",
    "category": "the name of a category",
    "probe": "a whole number from 1, or auto",
    "min_score": "a number from -1 to 1",
    "offset": "a whole number from 0 to {max_offset}",
    "filter": "a JSON object from metadata fields to conditions",
    "group_by": "the name of a metadata field",
    "collapse_above": "a number above 0, at most 1",
    "queries": "a list of 1 to {max_batch} queries",
    "on_unknown": "one of search, empty, reject",
    "fields": "a list of up to 100 metadata fields",
    "clicked_item_id": "the id of an item",
    "position": "a whole number from 0",
    "examples": f"a whole number from 0 to {MAX_EXAMPLES}",
}
"""What a message asks for where a field has another value; `{…}` are settings of the service."""

WANTED_ELEMENT = {"embedding": "a number", "fields": "the name of a metadata field"}


_VALUE: JsonSchemaValue = {"type": ["string", "number", "boolean"]}
_BOUNDS = ("gt", "gte", "lt", "lte")
FILTER_SCHEMA: JsonSchemaValue = {
    "type": "object",
    "maxProperties": MAX_CONDITIONS,
    "additionalProperties": {
        "anyOf": [
            _VALUE,
            {"type": "array", "items": _VALUE, "minItems": 1, "maxItems": MAX_VALUES},
            {
                "type": "object",
                "properties": {bound: {"type": "number"} for bound in _BOUNDS},
                "minProperties": 1,
                "additionalProperties": False,
            },
        ]
    },
}
"""Of `MetadataFilter.from_json`, which checks it."""


@dataclass(frozen=True)
class AtMost:
    """A bound on a number or on the length of a list that is a setting: the settings are a validation's context."""

    setting: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Check values against the context's setting."""

        def check(value: int | list[Any], info: core_schema.ValidationInfo) -> int | list[Any]:
            size = len(value) if isinstance(value, list) else value
            if size > getattr(info.context, self.setting):
                raise ValueError
            return value

        return core_schema.with_info_after_validator_function(check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Name the setting; `openapi.py` puts its value there."""
        return handler(schema) | {MAXIMUM_SETTING: self.setting}


class _Fields(BaseModel):
    """JSON types as they are, and no field that there isn't."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class MetadataFields(_Fields):
    """Which metadata an answer carries."""

    fields: Annotated[
        Annotated[list[Text], Field(max_length=100, fail_fast=True)] | NotGiven,
        Field(description="The metadata fields that an answer carries; all, where it is not given."),
    ] = None


class Options(MetadataFields):
    """The options of a search."""

    top_k: Annotated[int, Field(ge=1, description="How many hits at most."), AtMost("max_top_k")] = DEFAULT_TOP_K
    category: Annotated[Text | NotGiven, Field(description="Search this category instead of the predicted one.")] = None
    probe: Annotated[
        Annotated[int, Field(ge=1, le=2**31)] | Literal["auto"],
        Field(
            description="Search so many of the most probable categories; `auto`: as few as it takes to search the right"
            " one for `PARECIDO_PROBE_COVERAGE` of the queries. Not together with `category`."
        ),
    ] = 1
    min_score: Annotated[
        Annotated[float, Field(ge=-1, le=1)] | NotGiven, Field(description="Leave out hits with a lower score.")
    ] = None
    offset: Annotated[
        int,
        Field(ge=0, description="Leave out so many of the best hits; the first one's rank is then `offset` + 1."),
        AtMost("max_offset"),
    ] = 0
    filter: Annotated[
        Annotated[dict[str, Any], WithJsonSchema(FILTER_SCHEMA)] | NotGiven,
        Field(
            description="Search only the items whose metadata meet all conditions: by field, a value to equal, a list"
            " of values to equal any of, or a range of numbers.",
            examples=[{"brand": "Acme", "size": [41, 42], "price": {"gte": 10, "lt": 50.5}}],
        ),
    ] = None
    group_by: Annotated[
        Text | NotGiven,
        Field(description="Of the items that share the value of this metadata field, only the best stays."),
    ] = None
    collapse_above: Annotated[
        Annotated[float, Field(gt=0, le=1)] | NotGiven,
        Field(
            description="Fold a hit into a better one that is at least as near as this cosine; 0.99 for copies of a"
            " picture."
        ),
    ] = None
    on_unknown: Annotated[
        OnUnknown,
        Field(
            description="What to do with a query that shows none of the categories: `search` the predicted one"
            " nevertheless; `empty`, search none; `reject`, answer with the error `unknown_query`."
        ),
    ] = "search"


_IMAGE_OR_EMBEDDING = ("image_base64", "image_url", "embedding")
_ONE_OF_THREE: dict[str, Any] = {"oneOf": [{"required": [name]} for name in _IMAGE_OR_EMBEDDING]}
_ONE_OF_FOUR: dict[str, Any] = {"oneOf": [{"required": [name]} for name in (*_IMAGE_OR_EMBEDDING, "item_id")]}
_ONE_AT_LEAST: dict[str, Any] = {"anyOf": [{"required": ["category"]}, {"required": ["clicked_item_id"]}]}


class NoFields(_Fields):
    """Nothing beside a query."""


class ClassifyBody(NoFields):
    """What to classify in JSON: one of the fields."""

    model_config = ConfigDict(json_schema_extra=_ONE_OF_THREE)

    image_base64: Annotated[
        str | NotGiven,
        Field(description="The bytes of an image file.", json_schema_extra={"contentEncoding": "base64"}),
    ] = None
    image_url: Annotated[
        Text | NotGiven,
        Field(
            description="Where an image file lies, on a host of `PARECIDO_IMAGE_URL_HOSTS`; off where there is none.",
            json_schema_extra={"format": "uri"},
        ),
    ] = None
    embedding: Annotated[
        Annotated[list[float], Field(fail_fast=True)] | NotGiven,
        Field(
            description="As many numbers as the snapshot's embedder makes (1280), made by it; their length does not"
            " matter, their direction does."
        ),
    ] = None


class QueryFields(ClassifyBody):
    """What to search by in JSON: one of the fields."""

    model_config = ConfigDict(json_schema_extra=_ONE_OF_FOUR)

    item_id: Annotated[
        Text | NotGiven, Field(description="An item of the catalogue: all its images are the query.")
    ] = None


class SearchBody(QueryFields, Options):
    """A search in JSON."""


class BatchBody(Options):
    """Several searches in JSON; the options beside them are those of every query that does not have its own."""

    # Checked one by one: a bad one fails alone.
    queries: Annotated[list[SkipValidation[SearchBody]], Field(min_length=1), AtMost("max_batch")]


class FeedbackFields(_Fields):
    """What a query really showed: one of these at least."""

    category: Annotated[Text | NotGiven, Field(description="What the query really shows.")] = None
    clicked_item_id: Annotated[
        Text | NotGiven, Field(description="The item that was chosen; its category is the right one.")
    ] = None


class FeedbackBody(QueryFields, FeedbackFields):
    """Feedback in JSON: what to tell of, and what it really shows."""

    model_config = ConfigDict(json_schema_extra=_ONE_OF_FOUR | _ONE_AT_LEAST)


class CategoriesArguments(_Fields):
    """What to tell of the categories."""

    examples: Annotated[
        int, Field(ge=0, le=MAX_EXAMPLES, description="How many of each category's items to show, as examples.")
    ] = 0


class ImageArguments(_Fields):
    """Which of an item's images."""

    position: Annotated[int, Field(ge=0, lt=10**9, description="Which of the item's images, from 0.")] = 0
