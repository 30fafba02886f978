"""Environment variables that a platform sets beside a service whose name begins with `parecido`.

Kubernetes describes every Service of the namespace to each pod, and Docker's legacy links describe the linked
container, by variables that begin with the Service's or container's name: `PARECIDO_SEARCH_SERVICE_HOST`,
`PARECIDO_SEARCH_PORT_8080_TCP_ADDR`, and, for a Service that is called just `parecido`, `PARECIDO_PORT`.
"""

import re
from collections.abc import Mapping

_NAMES = re.compile(
    r"[A-Z0-9_]+_(?:"
    r"SERVICE_HOST"
    r"|SERVICE_PORT(?:_[A-Z0-9_]+)?"
    r"|PORT_\d{1,5}_(?:TCP|UDP|SCTP)(?:_(?:ADDR|PORT|PROTO|START|END))?"
    r")"
)
# These names could be settings, so their values have to be a platform's.
_VALUES: Mapping[str, re.Pattern[str]] = {
    "_PORT": re.compile(r"(?:tcp|udp|sctp)://\S+:\d{1,5}"),
    "_NAME": re.compile(r"/[^/\s]+(?:/[^/\s]+)+"),
}
_DOCKER_ENV = re.compile(r"([A-Z0-9_]+?)_ENV_.+")


def is_platform_variable(name: str, environment: Mapping[str, str]) -> bool:
    """Return whether a platform has set this variable of the environment, and not the service's operator."""
    if _NAMES.fullmatch(name):
        return True
    for suffix, value in _VALUES.items():
        if name.endswith(suffix) and value.fullmatch(environment[name]):
            return True
    copied = _DOCKER_ENV.fullmatch(name)
    if copied is None:
        return False
    link = f"{copied[1]}_NAME"  # Docker sets it beside the variables that it copies from the linked container
    return link in environment and is_platform_variable(link, environment)
