"""The parser of the command line, made from the declarations of options."""

import argparse
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from indexer.cli.options import COMMANDS, Command
from indexer.settings import option_flag
from shared import __version__
from shared.errors import SettingsError
from shared.options import Option, options_of
from shared.snapshot.data_directory import DataDirectory

_GROUPS = {"cache": "Look after the embedding cache."}


def command_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands.

    What it parses has the attributes `command`, one of `COMMANDS`, and `json`, and the options that were given; no
    others.
    """
    parser = argparse.ArgumentParser("python -m indexer", description="Build and look after snapshots of a catalogue.")
    parser.add_argument("--version", action="version", version=f"parecido {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    groups = {
        name: commands.add_parser(name, help=text).add_subparsers(required=True, metavar="COMMAND")
        for name, text in _GROUPS.items()
    }
    for name, command in COMMANDS.items():
        *group, last = name.split()
        _add_command(groups[group[0]] if group else commands, last, name, command)
    return parser


def _add_command(commands: Any, word: str, name: str, command: Command) -> None:
    sub: argparse.ArgumentParser = commands.add_parser(
        word,
        help=_plain(command.summary),
        description=textwrap.fill(_plain(command.summary), 78),
        epilog="examples:\n" + "".join(f"  python -m indexer {example}\n" for example in command.examples),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    sub.set_defaults(command=name)
    for declaration in command.declarations:
        for option in options_of(declaration).values():
            _add_option(sub, option)
    sub.add_argument("--json", action="store_true", help="print one JSON object as the last line of output")


def _add_option(sub: argparse.ArgumentParser, option: Option) -> None:
    about: dict[str, Any] = {"default": argparse.SUPPRESS, "help": help_text(option).replace("%", "%%")}
    if option.type is bool:
        about["action"] = "store_true"
    elif option.choices:
        about |= {"choices": option.choices, "metavar": option.help.metavar}
    else:
        about |= {"type": _parsed_as(option), "metavar": metavar(option)}
    if not option.help.positional:
        # A build without a catalogue repeats the last one.
        required = option.is_required and option.name != "catalogue"
        sub.add_argument(option_flag(option.name), required=required, **about)
    elif option.type is str:
        nargs = None if option.is_required else "?"
        sub.add_argument(option.name, nargs=nargs, **about).completer = _snapshot_ids  # type: ignore[attr-defined]
    else:
        sub.add_argument(option.name, **about)


def help_text(option: Option) -> str:
    """Return an option's line of `--help`."""
    default = option.default_text
    return _plain(f"{option.help.text} (default: {default})" if default else option.help.text)


def metavar(option: Option) -> str:
    """Return the placeholder of an option's value."""
    if option.help.metavar is not None:
        return option.help.metavar
    if option.help.positional:
        return option.name
    return {int: "N", float: "N", Path: "PATH"}.get(option.type, option.name.upper())


def _plain(text: str) -> str:
    return text.replace("`", "")


def _parsed_as(option: Option) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        try:
            return option.parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text!r} given; {error}") from error
        except SettingsError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return parse


def _snapshot_ids(parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    """Return the ids of snapshots in the data directory given so far; argcomplete keeps those that fit."""
    return DataDirectory(getattr(parsed_args, "data", Path("data"))).ids()
