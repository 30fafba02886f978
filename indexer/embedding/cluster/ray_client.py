"""Connection to a Ray cluster; the one module that imports ray, and only when it is used."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from ipaddress import ip_address
from typing import Any

from shared.errors import ClusterError, SettingsError


def import_ray() -> Any:
    """Return the module `ray`.

    Raises:
        SettingsError: it is not installed.
    """
    try:
        import ray
    except ImportError as error:
        raise SettingsError(
            "--executor ray needs ray: install Parecido with the extra `ray`: pip install 'parecido[ray]'"
        ) from error
    return ray


@contextmanager
def connected(address: str | None, threads: int) -> Iterator[int]:
    """Connect to a cluster, or start one on this machine if there is no address; yields its number of cores.

    Raises:
        SettingsError: ray is not installed.
        ClusterError: the cluster can't be reached.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray = import_ray()
    address = address or os.environ.get("RAY_ADDRESS")
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        options |= {"num_cpus": threads, "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    elif _is_loopback(address):
        options |= {"_node_ip_address": "127.0.0.1"}  # or the driver looks for its node at another address
    with redirect_stdout(sys.stderr):  # Ray prints events of nodes there; standard output is for the result
        try:
            ray.init(address or "local", **options)
        except Exception as error:
            raise ClusterError(f"the Ray cluster {address or 'of this machine'} can't be reached: {error}") from error
        try:
            yield max(1, int(ray.cluster_resources().get("CPU", 1)))
        finally:
            ray.shutdown()


def _is_loopback(address: str) -> bool:
    try:
        return ip_address(address.partition(":")[0]).is_loopback
    except ValueError:
        return address.partition(":")[0] == "localhost"
