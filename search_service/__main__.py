"""Run the service: `python -m search_service`, configured by `PARECIDO_…` in the environment."""

import logging
import os
import sys

from search_service.access.api_keys import ApiKeys, new_key
from search_service.observability.logging_setup import configure
from search_service.observability.metrics_directory import metrics_directory
from search_service.server.gunicorn_app import GunicornApp
from search_service.settings import ServiceSettings
from shared.errors import ParecidoError, SettingsError

_log = logging.getLogger("search_service")


def main() -> int:
    """Serve until stopped."""
    try:
        if sys.argv[1:2] == ["new-key"]:
            return _new_key(sys.argv[2:])
        settings = ServiceSettings.from_environment(os.environ)
        if settings.api_keys:
            ApiKeys(settings.api_keys)  # a bad file ends the service now, not each worker
    except ParecidoError as error:
        print(f"parecido: {error}", file=sys.stderr)
        return error.exit_status
    configure(settings.log_format, settings.log_level)
    if settings.is_exposed:
        _log.warning(
            "listening on %s without PARECIDO_API_KEYS or PARECIDO_RATE_LIMIT: "
            "whoever reaches it may use it as much as they like",
            settings.host,
        )
    with metrics_directory() as directory:
        GunicornApp(settings, directory).run()
    return 0


def _new_key(names: list[str]) -> int:
    """Print a key, which is kept nowhere, and the line that lets it in."""
    if len(names) != 1:
        raise SettingsError("wanted one name: python -m search_service new-key NAME")
    key, line = new_key(names[0])
    print(f"the key, shown once: {key}\na line for the file that PARECIDO_API_KEYS names:\n{line}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
