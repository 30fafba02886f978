"""The command `python -m search_service`, configured by `PARECIDO_…` in the environment."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence

from search_service.access.api_keys import ApiKeys, new_key
from search_service.environment import environment_help
from search_service.observability.logging_setup import configure
from search_service.observability.metrics_directory import metrics_directory
from search_service.server.gunicorn_app import GunicornApp
from search_service.settings import ServiceSettings
from shared.errors import ParecidoError
from shared.options import options_of

_log = logging.getLogger("search_service")


def main(arguments: Sequence[str] = ()) -> int:
    """Serve until stopped, or make an API key.

    Returns:
        The exit status.
    """
    options = _parser().parse_args(arguments)
    try:
        if options.command == "new-key":
            return _new_key(options.name)
        settings = ServiceSettings.from_environment(os.environ)
        if settings.api_keys:
            ApiKeys(settings.api_keys)  # an invalid file ends the service now, not each worker
    except ParecidoError as error:
        print(f"parecido: {error}", file=sys.stderr)
        return error.exit_status
    configure(settings.log_format, settings.log_level)
    if settings.is_exposed:
        _log.warning(
            "listening on %s without PARECIDO_API_KEYS or PARECIDO_RATE_LIMIT: "
            "anyone who reaches it may use it without limit",
            settings.host,
        )
    with metrics_directory() as directory:
        GunicornApp(settings, directory).run()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        usage="python -m search_service [-h] [new-key NAME]",
        description="Serve the published snapshot over HTTP.",
        epilog=environment_help(options_of(ServiceSettings)),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="new-key NAME")
    new_key_parser = commands.add_parser(
        "new-key", prog="python -m search_service new-key", help="print a new API key, and the line that accepts it"
    )
    new_key_parser.add_argument("name", help="the name of the client that the key is for")
    return parser


def _new_key(name: str) -> int:
    """Print a new key, which is stored nowhere, and its line of the key file."""
    key, line = new_key(name)
    print(f"the key, shown once: {key}\nits line for the file named by PARECIDO_API_KEYS:\n{line}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
