"""Run the service: `python -m search_service`, configured by `PARECIDO_…` in the environment."""

import os
import sys
from typing import Any

from gunicorn.app.base import BaseApplication

from search_service.settings import ServiceSettings
from shared.errors import ParecidoError


class _Server(BaseApplication):  # type: ignore[misc]
    """Gunicorn, configured in code."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings
        super().__init__()

    def load_config(self) -> None:
        """Threads, since embedding and searching release the GIL; no preloading, so nothing is opened before a fork."""
        host = self._settings.host
        values: dict[str, Any] = {
            "bind": f"[{host}]:{self._settings.port}" if ":" in host else f"{host}:{self._settings.port}",  # IPv6
            "workers": self._settings.workers,
            "threads": self._settings.threads,
            "worker_class": "gthread",
            "proc_name": "parecido",
            "control_socket_disable": True,  # it would lie in the user's home, one for all services
        }
        for name, value in values.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """Make a worker's application."""
        from search_service.wsgi import make_app

        return make_app(self._settings)


def main() -> int:
    """Serve until stopped."""
    try:
        settings = ServiceSettings.from_environment(os.environ)
    except ParecidoError as error:
        print(f"parecido: {error}", file=sys.stderr)
        return error.exit_status
    _Server(settings).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
