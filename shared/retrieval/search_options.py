"""The options of a search."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, GetCoreSchemaHandler, StrictFloat, StrictInt, StrictStr, WithJsonSchema
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import CoreSchema, core_schema

from shared.catalogue.metadata_filter import MAX_CONDITIONS, MAX_VALUES, MetadataFilter
from shared.errors import InvalidRequest
from shared.options import AtMost, Help
from shared.retrieval.ood_verdict import OnUnknown

DEFAULT_TOP_K = 10
Text: TypeAlias = Annotated[StrictStr, Field(min_length=1)]
NotGiven: TypeAlias = SkipJsonSchema[None]

_VALUE = {"type": ["string", "number", "boolean"]}
_FILTER_SCHEMA: dict[str, Any] = {
    "type": "object",
    "maxProperties": MAX_CONDITIONS,
    "additionalProperties": {
        "anyOf": [
            _VALUE,
            {"type": "array", "items": _VALUE, "minItems": 1, "maxItems": MAX_VALUES},
            {
                "type": "object",
                "properties": {bound: {"type": "number"} for bound in ("gt", "gte", "lt", "lte")},
                "minProperties": 1,
                "additionalProperties": False,
            },
        ]
    },
    "examples": [{"brand": "Acme", "size": [41, 42], "price": {"gte": 10, "lt": 50.5}}],
}


class _FromJson:
    """Makes a filter of JSON."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(MetadataFilter.from_json)


@dataclass(frozen=True)
class SearchOptions:
    """The options of one search; their limits are checked where requests are read.

    Hits are ranked by score, equal scores in the catalogue's order, so that pages of one snapshot neither overlap nor
    miss a hit.

    - `offset` costs as much as `top_k`.
    - With `on_unknown: reject` nothing is searched, and the caller rejects the result by `require_in_distribution`.
    - `group_by` compares text, numbers and booleans as a filter does, though "3" and 3 are two; an item with any other
      value, or none, is a group of its own. How near two items are, for `collapse_above`, is the greatest cosine
      between any of their embeddings. With either, `top_k` and `offset` count the hits kept.
    """

    top_k: Annotated[StrictInt, Field(ge=1), AtMost("max_top_k"), Help("maximum number of hits")] = DEFAULT_TOP_K
    category: Annotated[Text | NotGiven, Help("search this category instead of the predicted one")] = None
    probe: Annotated[
        Annotated[StrictInt, Field(ge=1, le=2**31)] | Literal["auto"],
        Help(
            "number of the most probable categories to search; `auto`: as few as needed to search the right one for"
            " `PARECIDO_PROBE_COVERAGE` of the queries; not together with `category`",
            see="decisions/0011-probe-auto.md",
        ),
    ] = 1
    min_score: Annotated[Annotated[StrictFloat, Field(ge=-1, le=1)] | NotGiven, Help("minimum score of a hit")] = None
    on_unknown: Annotated[
        OnUnknown,
        Help(
            "for a query that shows none of the categories: `search` the predicted one nevertheless; `empty`: search"
            " none; `reject`: answer with the error `unknown_query`"
        ),
    ] = "search"
    offset: Annotated[
        StrictInt,
        Field(ge=0),
        AtMost("max_offset"),
        Help("number of the best hits to skip; the rank of the first hit is then `offset` + 1"),
    ] = 0
    filter: Annotated[
        Annotated[MetadataFilter, _FromJson(), WithJsonSchema(_FILTER_SCHEMA)] | NotGiven,
        Help(
            "search only items whose metadata meet all conditions: for each field a value, a list of values, or a range"
        ),
    ] = None
    group_by: Annotated[
        Text | NotGiven,
        Help("keep only the best of the items with the same value of this metadata field; hits have it as `group`"),
    ] = None
    collapse_above: Annotated[
        Annotated[StrictFloat, Field(gt=0, le=1)] | NotGiven,
        Help(
            "collapse a hit into a better one with at least this cosine between them, such as 0.99 for copies of an"
            " image; hits list up to 20 ids of collapsed ones as `duplicates`"
        ),
    ] = None

    def __post_init__(self) -> None:
        """Reject contradictions.

        Raises:
            InvalidRequest: both `category` and `probe` were given.
        """
        if self.category is not None and self.probe != 1:
            raise InvalidRequest("`category` and `probe` were both given; expected at most one of them")
