"""The fields of requests: bodies, forms and query strings are validated by them, and OpenAPI describes them.

JSON holds typed values; forms and query strings hold text, which `validation.py` converts first.
"""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field, SkipValidation, StrictFloat, StrictInt, StrictStr

from shared.options import AtMost, Help
from shared.retrieval.search_options import NotGiven, SearchOptions, Text
from shared.retrieval.text_query import DEFAULT_WEIGHT
from shared.words.vocabulary import MAX_TEXT_CHARS

MAX_EXAMPLES = 12
_PICTURES = ("image_base64", "image_url", "embedding")


def _config(**extra: Any) -> ConfigDict:
    return ConfigDict(extra="forbid", json_schema_extra=extra)


def _exactly_one_of(*names: str) -> dict[str, Any]:
    return {"oneOf": [{"required": [name]} for name in names]}


def _at_most_one_of(*names: str) -> dict[str, Any]:
    """A text may be alone."""
    alone = {"required": ["text"], "not": {"anyOf": [{"required": [name]} for name in names]}}
    return {"oneOf": [*({"required": [name]} for name in names), alone]}


@dataclass(frozen=True)
class NoFields:
    """No fields besides a query."""

    __pydantic_config__: ClassVar[ConfigDict] = _config()


@dataclass(frozen=True)
class MetadataFields(NoFields):
    """The choice of metadata in an answer."""

    fields: Annotated[
        Annotated[list[Text], Field(max_length=100, fail_fast=True)] | NotGiven,
        Help("the metadata fields in the answer", default="all"),
    ] = None


_QUERY_TEXT = Annotated[StrictStr, Field(min_length=1, max_length=MAX_TEXT_CHARS)]


@dataclass(frozen=True)
class TextFields(NoFields):
    """A text beside a picture, or alone."""

    text: Annotated[
        _QUERY_TEXT | NotGiven,
        Help(
            "words to search by, alone or beside an image, an item or an embedding, such as `red leather`",
            see="how-to/search-by-text.md",
        ),
    ] = None
    text_weight: Annotated[
        Annotated[StrictFloat, Field(ge=0, le=1)],
        Help("weight of the text against what is beside it; without effect if there is nothing"),
    ] = DEFAULT_WEIGHT


@dataclass(frozen=True)
class Options(SearchOptions, TextFields, MetadataFields):
    """The options of a search, and of its answer."""


@dataclass(frozen=True)
class PictureFields(NoFields):
    """A picture: exactly one of the fields."""

    image_base64: Annotated[
        StrictStr | NotGiven,
        Field(json_schema_extra={"contentEncoding": "base64"}),
        Help("the bytes of an image file, in base64"),
    ] = None
    image_url: Annotated[
        Text | NotGiven,
        Field(json_schema_extra={"format": "uri"}),
        Help(
            "the URL of an image file, on a host in `PARECIDO_IMAGE_URL_HOSTS`; off by default",
            see="how-to/access.md#image-urls",
        ),
    ] = None
    embedding: Annotated[
        Annotated[list[StrictFloat], Field(fail_fast=True)] | NotGiven,
        Help("numbers made by the snapshot's embedder, 1280; only their direction matters"),
    ] = None


@dataclass(frozen=True)
class ClassifyBody(PictureFields):
    """A query to classify: exactly one of the fields."""

    __pydantic_config__: ClassVar[ConfigDict] = _config(**_exactly_one_of(*_PICTURES, "text"))

    text: Annotated[_QUERY_TEXT | NotGiven, Help("words that speak of a category")] = None


@dataclass(frozen=True)
class QueryFields(PictureFields):
    """A query: exactly one of the fields."""

    item_id: Annotated[
        Text | NotGiven,
        Help("an item of the catalogue: its images are the query; of more than 16, 16 evenly spaced ones"),
    ] = None


@dataclass(frozen=True)
class SearchBody(QueryFields, Options):
    """A search."""

    __pydantic_config__: ClassVar[ConfigDict] = _config(**_at_most_one_of(*_PICTURES, "item_id"))


@dataclass(frozen=True, kw_only=True)
class BatchBody(Options):
    """Several searches; the options are those of every query without its own."""

    # Each is validated by itself, so that an invalid one fails alone.
    queries: Annotated[list[SkipValidation[SearchBody]], Field(min_length=1), AtMost("max_batch"), Help("the queries")]


@dataclass(frozen=True)
class FeedbackFields(NoFields):
    """The right category of a query: at least one of the fields."""

    category: Annotated[Text | NotGiven, Help("what the query really shows; one of `GET /v1/categories`")] = None
    clicked_item_id: Annotated[
        Text | NotGiven,
        Help("the chosen item; its category is the right one, so a `category` beside it has to agree"),
    ] = None


@dataclass(frozen=True)
class FeedbackBody(QueryFields, FeedbackFields):
    """Feedback: a query, and its right category."""

    __pydantic_config__: ClassVar[ConfigDict] = _config(
        **_exactly_one_of(*_PICTURES, "item_id"),
        anyOf=[{"required": ["category"]}, {"required": ["clicked_item_id"]}],
    )


@dataclass(frozen=True)
class CategoriesArguments(NoFields):
    """The arguments of the list of categories."""

    examples: Annotated[
        StrictInt, Field(ge=0, le=MAX_EXAMPLES), Help("number of items of each category to show as examples")
    ] = 0


@dataclass(frozen=True)
class ImageArguments(NoFields):
    """The arguments of an item's image."""

    position: Annotated[StrictInt, Field(ge=0, lt=10**9), Help("which of the item's images, from 0")] = 0
