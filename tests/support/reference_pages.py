"""The tables of options in `docs/reference/`, made from their declarations.

`python -m tests.support.reference_pages` writes them between the markers of the pages; `tests/test_docs.py` fails where
a page differs.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from indexer.cli.options import COMMANDS
from indexer.settings import option_flag
from search_service.api.schemas import FeedbackFields, Options, QueryFields
from search_service.environment import variable
from search_service.settings import ServiceSettings
from shared.catalogue.metadata_filter import MetadataFilter
from shared.options import Option, options_of

PAGES = Path(__file__).parents[2] / "docs" / "reference"
MARKED = re.compile(r"(<!-- generated: ([a-z ]+) -->\n).*?(<!-- end -->)", re.DOTALL)


class _LimitNames:
    """Settings, by name, in the place of their values."""

    def __getattr__(self, name: str) -> str:
        return f"`{variable(name)}`"


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def _meaning(option: Option) -> str:
    see = option.help.see
    return f"{option.help.text} ([more](../{see}))" if see else option.help.text


def _default(option: Option) -> str:
    if option.help.default is not None:
        return option.help.default
    if option.is_required:
        return "required"
    if option.type is bool:
        return "off"
    if option.default is None:
        return "–"
    return f"`{option.default}`"


def _value(option: Option) -> str:
    if option.type is bool:
        return "–"
    if option.type is MetadataFilter:
        return "a JSON object"
    return ", ".join(f"`{choice}`" for choice in option.choices) or option.expected(_LimitNames())


def _options(declarations: Iterable[type], spelled: Callable[[str], str]) -> str:
    options = {name: option for declared in declarations for name, option in options_of(declared).items()}
    rows = (
        (f"`{name if option.help.positional else spelled(name)}`", _default(option), _value(option), _meaning(option))
        for name, option in options.items()
    )
    return _table(("option", "default", "value", "meaning"), rows)


def _fields(declaration: type) -> str:
    """Fields of a body of which each may be missing."""
    options = options_of(declaration).values()
    return _table(("field", "value", "meaning"), ((f"`{one.name}`", _value(one), _meaning(one)) for one in options))


def _commands() -> str:
    return _table(
        ("`python -m indexer …`", "purpose"),
        ((f"[`{name}`](#{name.replace(' ', '-')})", command.summary) for name, command in COMMANDS.items()),
    )


def _command_sections() -> str:
    sections = (
        f"\n## {name}\n\n{command.summary}\n\n{_options(command.declarations, option_flag)}"
        + "\n```\n"
        + "".join(f"python -m indexer {example}\n" for example in command.examples)
        + "```\n"
        for name, command in COMMANDS.items()
    )
    return "".join(sections)


def _settings() -> str:
    return _options([ServiceSettings], variable)


GENERATED: Mapping[str, Callable[[], str]] = {
    "commands": _commands,
    "options of the commands": _command_sections,
    "settings": _settings,
    "search options": lambda: _options([Options], str),
    "query fields": lambda: _fields(QueryFields),
    "feedback fields": lambda: _fields(FeedbackFields),
}


def generated(page: str) -> str:
    """Return a page with what is generated in it, as it should be."""
    return MARKED.sub(lambda found: f"{found[1]}{GENERATED[found[2]]()}{found[3]}", page)


def main() -> None:
    """Write the pages."""
    for path in PAGES.glob("*.md"):
        path.write_text(generated(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
