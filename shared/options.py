"""Declarations of options: fields of a dataclass, annotated with limits and a sentence of help.

    @dataclass(frozen=True)
    class Limits:
        max_top_k: Annotated[int, Field(ge=1, le=100_000), Help("maximum `top_k` of a request")] = 1000

Parsers of the command line and the environment, the settings that a data directory remembers, request validation,
the OpenAPI document and the tables in `docs/reference/` are made from such declarations.
"""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, fields
from functools import cache, cached_property
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, TypeAdapter, ValidationError
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from shared.errors import SettingsError
from shared.expected_values import MAXIMUM_SETTING, expected, with_limits


@dataclass(frozen=True)
class Help:
    """The documentation of an option.

    Attributes:
        text: a sentence without its first capital and its full stop.
        default: the default in words, where it is not a constant.
        metavar: the placeholder of the value in `--help`; None for one by its type.
        see: the page below `docs/`, with the heading, that says more.
        positional: True if the command line takes it by its position.
        remembered: True if later builds use the value again.
    """

    text: str = ""
    default: str | None = None
    metavar: str | None = None
    see: str | None = None
    positional: bool = False
    remembered: bool = True

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Describe the value by the text."""
        return handler(schema) | {"description": self.text}


@dataclass(frozen=True)
class OneOf:
    """A limit of text to some words."""

    choices: tuple[str, ...]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Accept these words alone."""
        return core_schema.literal_schema(list(self.choices))


@dataclass(frozen=True)
class Parse:
    """A function that makes the value of text.

    Attributes:
        function: raises ValueError, whose message says what was expected.
        expected: a description of valid text; None for one by the type.
    """

    function: Callable[[str], Any]
    expected: str | None = None


@dataclass(frozen=True)
class AtMost:
    """An upper limit of a number, or of the length of a list, that is a setting of the service.

    The context of a validation has the settings as attributes; without a context the limit does not hold.
    """

    setting: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Check values against the setting."""

        def check(value: int | list[Any], info: core_schema.ValidationInfo) -> int | list[Any]:
            size = len(value) if isinstance(value, list) else value
            if info.context is not None and size > getattr(info.context, self.setting):
                raise ValueError
            return value

        return core_schema.with_info_after_validator_function(check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Name the setting; `with_limits` puts its value there."""
        return handler(schema) | {MAXIMUM_SETTING: self.setting}


@dataclass(frozen=True)
class Option:
    """An option as its declaration has it.

    Attributes:
        name: of the field.
        annotation: its type, limits and help.
        default: `dataclasses.MISSING` where a value is required.
        type: the Python type of a value that is not None; `str` where there are choices.
        choices: the words that a value may be; empty for any.
        help: its documentation.
    """

    name: str
    annotation: Any
    default: Any
    type: Any
    choices: tuple[str, ...]
    help: Help

    @cached_property
    def schema(self) -> JsonSchemaValue:
        """The JSON schema of a value."""
        return self._adapter.json_schema()

    @property
    def is_required(self) -> bool:
        """True if there is no default."""
        return self.default is MISSING

    @property
    def default_text(self) -> str | None:
        """The default in words; None where there is none to show."""
        if self.help.default is not None:
            return self.help.default
        return None if self.is_required or self.default is None or self.type is bool else str(self.default)

    def expected(self, limits: object = None) -> str:
        """Describe the values that are valid, as `an integer from 1 to 100`.

        Args:
            limits: the settings of the service, where a limit is one of them.
        """
        parse = self._parse
        return (parse and parse.expected) or expected(with_limits(self.schema, limits))

    def parse(self, text: str) -> Any:
        """Convert text of the command line or the environment, without a check of limits.

        Raises:
            ValueError: it is not text of such a value; the message says what was expected.
        """
        if self._parse is not None:
            return self._parse.function(text)
        text = text.strip()
        try:
            return text.lower() if self.choices else _FROM_TEXT[self.type](text)
        except ValueError:
            raise ValueError(f"expected {self.expected()}") from None

    def check(self, value: Any) -> None:
        """Check a value against type and limits.

        Raises:
            ValueError: the message says what was expected.
        """
        try:
            self._adapter.validate_python(value, strict=True)
        except ValidationError:
            raise ValueError(f"expected {self.expected()}") from None

    @cached_property
    def _parse(self) -> Parse | None:
        return next((part for part in _parts(self.annotation) if isinstance(part, Parse)), None)

    @cached_property
    def _adapter(self) -> TypeAdapter[Any]:
        return TypeAdapter(self.annotation)


def options_of(declaration: Callable[..., object]) -> Mapping[str, Option]:
    """Return the options that a dataclass declares, by name, in their order."""
    return _options_of(declaration)


@cache
def _options_of(declaration: Any) -> Mapping[str, Option]:
    annotations = get_type_hints(declaration, include_extras=True)
    return {field.name: _option(field, annotations[field.name]) for field in fields(declaration)}


def check_options(options: Any, spelled: Callable[[str], str]) -> None:
    """Check all values of a declaration's instance.

    Args:
        options: the instance.
        spelled: returns the name that users give an option by.

    Raises:
        SettingsError: the message names the option, its value, and what was expected.
    """
    for option in options_of(type(options)).values():
        value = getattr(options, option.name)
        try:
            option.check(value)
        except ValueError as error:
            raise SettingsError(f"{spelled(option.name)} is {value!r}; {error}") from None


def _option(field: "Field[Any]", annotation: Any) -> Option:
    help_ = next((part for part in _parts(annotation) if isinstance(part, Help)), Help())
    choices = next((part.choices for part in _parts(annotation) if isinstance(part, OneOf)), ())
    value_type = next(part for part in _parts(annotation) if _is_type(part))
    if get_origin(value_type) is Literal:
        value_type, choices = str, get_args(value_type)
    return Option(field.name, annotation, field.default, get_origin(value_type) or value_type, choices, help_)


def _parts(annotation: Any) -> list[Any]:
    """The types of a union and all that they are annotated with; of a union in an annotation, too."""
    if get_origin(annotation) is Annotated:
        inner, *metadata = get_args(annotation)
        return [*_parts(inner), *metadata]
    if get_origin(annotation) in (Union, UnionType):
        return [part for kind in get_args(annotation) for part in _parts(kind)]
    return [annotation]


def _is_type(part: Any) -> bool:
    return part is not NoneType and (isinstance(part, type) or get_origin(part) is not None)


def _filled(text: str) -> str:
    if not text:
        raise ValueError
    return text


_FROM_TEXT: Mapping[Any, Callable[[str], Any]] = {
    int: int,
    float: float,
    str: _filled,
    Path: lambda text: Path(_filled(text)),
}
