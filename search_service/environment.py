"""Settings in environment variables: their names, their values, and a description of them."""

import textwrap
from collections.abc import Mapping
from typing import Any

from search_service.platform_variables import is_platform_variable
from shared.errors import SettingsError
from shared.options import Option

PREFIX = "PARECIDO_"
_INDENT = " " * 6


def variable(name: str) -> str:
    """Return the environment variable of a setting."""
    return PREFIX + name.upper()


def read_environment(settings: Mapping[str, Option], environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the values of the settings that are set; variables of a platform are ignored.

    Raises:
        SettingsError: a value is not valid, or a variable `PARECIDO_…` is not a setting.
    """
    known = {variable(name): option for name, option in settings.items()}
    ours = [name for name in environment if name.startswith(PREFIX) and not is_platform_variable(name, environment)]
    unknown = [name for name in ours if name not in known]
    if unknown:
        raise SettingsError(f"unknown setting {unknown[0]}; expected one of: {', '.join(known)}")
    return {known[name].name: _read(known[name], environment[name]) for name in ours}


def environment_help(settings: Mapping[str, Option]) -> str:
    """Return a description of the settings, for people."""
    lines = ["settings, read from the environment:"]
    for option in settings.values():
        text = f"{option.help.text}; {option.expected()}".replace("`", "")
        lines.append(f"  {variable(option.name)} (default: {option.default_text or 'none'})".replace("`", ""))
        lines += textwrap.wrap(text, 78, initial_indent=_INDENT, subsequent_indent=_INDENT)
    return "\n".join(lines)


def _read(option: Option, text: str) -> Any:
    try:
        value = option.parse(text)
        option.check(value)
    except ValueError as error:
        raise SettingsError(f"{variable(option.name)} is {text!r}; {str(error).replace('`', '')}") from None
    return value
