"""The indexer's command line: `python -m indexer COMMAND …`."""
# PYTHON_ARGCOMPLETE_OK: lets a shell ask this module for completions.

import json
import os
import sqlite3
import sys
from collections.abc import Sequence

# Neither TensorFlow's start-up notes nor its warnings about processors it was not compiled for are news to a user.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argcomplete

from indexer.cli.parser import command_parser
from indexer.console.native_stderr import without_native_logs
from indexer.console.progress import TerminalReporter
from shared.errors import ParecidoError, SnapshotError
from shared.priority import lower_process_priority

_NOT_PUBLISHED = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        The exit status: 0 done, 2 bad input or usage, 3 not published, 1 anything else.
    """
    parser = command_parser()
    argcomplete.autocomplete(parser, always_complete_options=False)
    given = vars(parser.parse_args(arguments))
    name, as_json = given.pop("command"), given.pop("json")
    # Not before: help and completion need none of what the commands load.
    from indexer.cli.commands import run

    try:
        result = run(name, given, TerminalReporter())
    except SnapshotError as error:
        way_out = "build again, or go back to an earlier one with `python -m indexer rollback`"
        return _fail(as_json, error.code, f"{error}: {way_out}", error.exit_status)
    except ParecidoError as error:
        return _fail(as_json, error.code, str(error), error.exit_status)
    except OSError as error:
        return _fail(as_json, "system", f"{error.filename or 'the system'}: {error.strerror or error}", 1)
    except sqlite3.Error as error:
        return _fail(as_json, "system", f"a database can't be used: {error}", 1)
    except KeyboardInterrupt:
        return _fail(as_json, "interrupted", "interrupted; nothing was published", 1)
    if as_json:
        print(json.dumps(result, ensure_ascii=False))
    return 0 if result.get("published", True) else _NOT_PUBLISHED


def _fail(as_json: bool, code: str, message: str, status: int) -> int:
    print(f"parecido: {message}", file=sys.stderr)
    if as_json:
        print(json.dumps({"error": {"code": code, "message": message}}, ensure_ascii=False))
    return status


if __name__ == "__main__":
    lower_process_priority()
    with without_native_logs():
        status = main()
    sys.exit(status)
