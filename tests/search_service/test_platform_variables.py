"""Variables that Kubernetes and Docker set beside a service of our name, and names of ours that are misspelt."""

from dataclasses import fields

import pytest

from search_service.environment import PREFIX, variable
from search_service.platform_variables import is_platform_variable
from search_service.settings import ServiceSettings
from shared.errors import SettingsError
from shared.milvus.address import MilvusAccess


def _kubernetes(service: str, address: str = "10.96.0.7", port: int = 8080, protocol: str = "tcp") -> dict[str, str]:
    """All that the kubelet sets for a Service with one port that is called `http-alt`."""
    name = service.upper().replace("-", "_")
    host = f"[{address}]" if ":" in address else address
    url = f"{protocol}://{host}:{port}"
    link = f"{name}_PORT_{port}_{protocol.upper()}"
    return {
        f"{name}_SERVICE_HOST": address,
        f"{name}_SERVICE_PORT": str(port),
        f"{name}_SERVICE_PORT_HTTP_ALT": str(port),
        f"{name}_PORT": url,
        link: url,
        f"{link}_PROTO": protocol,
        f"{link}_PORT": str(port),
        f"{link}_ADDR": address,
    }


_DOCKER = {
    "PARECIDO_NAME": "/shop/parecido",
    "PARECIDO_PORT": "tcp://172.17.0.2:8080",
    "PARECIDO_PORT_8080_TCP": "tcp://172.17.0.2:8080",
    "PARECIDO_PORT_8080_TCP_ADDR": "172.17.0.2",
    "PARECIDO_PORT_8080_TCP_PORT": "8080",
    "PARECIDO_PORT_8080_TCP_PROTO": "tcp",
    "PARECIDO_ENV_PARECIDO_DATA": "/data",
    "PARECIDO_ENV_PATH": "/usr/bin",
}
_SETS = [
    _kubernetes("parecido-search"),
    _kubernetes("parecido"),
    _kubernetes("parecido-milvus", "fd00::1", 19530),
    _kubernetes("parecido-dns", "10.96.0.9", 53, "udp"),
    _kubernetes("parecido-search-2", "10.96.0.9", 80, "sctp"),
    _DOCKER,
]


@pytest.mark.parametrize("variables", _SETS, ids=lambda variables: next(iter(variables)))
def test_what_a_platform_sets_is_no_setting_and_stops_nothing(variables: dict[str, str]) -> None:
    assert all(is_platform_variable(name, variables) for name in variables)
    assert ServiceSettings.from_environment(variables) == ServiceSettings()
    own = {"PARECIDO_THREADS": "5", "PARECIDO_HOST": "0.0.0.0"}
    assert ServiceSettings.from_environment({**variables, **own}) == ServiceSettings(threads=5, host="0.0.0.0")
    assert MilvusAccess.from_environment(variables) == MilvusAccess()  # all that the indexer reads


def test_a_port_that_is_ours_is_read() -> None:
    variables = _kubernetes("parecido") | {"PARECIDO_PORT": "9000"}
    assert ServiceSettings.from_environment(variables).port == 9000


@pytest.mark.parametrize(
    "name",
    [
        "PARECIDO_PROT",
        "PARECIDO_HTTP_PORT",
        "PARECIDO_SERVICE",
        "PARECIDO_SEARCH_HOST",
        "PARECIDO_PORT_8080",
        "PARECIDO_PORT_HTTP_TCP",
        "PARECIDO_SERVER_NAME",
        "PARECIDO_ENV_DATA",
        "PARECIDO_SERVICE_HOST_",
        "parecido_SEARCH_SERVICE_HOST",
    ],
)
def test_a_misspelt_name_of_ours_is_still_refused(name: str) -> None:
    assert not is_platform_variable(name, {name: "8080"})
    if name.startswith(PREFIX):
        with pytest.raises(SettingsError, match=f"^unknown setting {name};"):
            ServiceSettings.from_environment({**_kubernetes("parecido"), name: "8080"})


@pytest.mark.parametrize("value", ["tcp:/10.0.0.1:80", "tcp://10.0.0.1", "http://10.0.0.1:80", "10.0.0.1:80"])
def test_a_bad_port_is_not_taken_for_a_platforms(value: str) -> None:
    with pytest.raises(SettingsError, match=r"^PARECIDO_PORT is "):
        ServiceSettings.from_environment({"PARECIDO_PORT": value})


def test_no_setting_has_a_name_that_is_taken_for_a_platforms() -> None:
    names = [variable(field.name) for field in fields(ServiceSettings)]
    assert not any(is_platform_variable(name, {name: "1"}) for name in names)
