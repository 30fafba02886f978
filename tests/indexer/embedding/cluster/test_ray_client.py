"""What of `--executor ray` shows without a cluster; tests/cluster has the rest."""

import subprocess
import sys
from pathlib import Path

import pytest

from indexer.embedding.cluster.ray_client import _is_loopback
from tests.support.builders.shop import Shop

_ROOT = Path(__file__).parents[4]


def test_without_ray_the_extra_is_named(quick_shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    done = quick_shop.build("--executor", "ray")
    assert done.status == 2
    assert "pip install 'parecido[ray]'" in done.err


def test_the_local_executor_imports_nothing_of_it() -> None:
    code = "import sys, indexer.__main__; print([name for name in ('ray', 'pyarrow', 'upath') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=_ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("address", "is_loopback"),
    [("127.0.0.1:6380", True), ("localhost:6380", True), ("10.0.0.3:6379", False), ("ray://head:10001", False)],
)
def test_an_address_of_this_machine_is_known(address: str, is_loopback: bool) -> None:
    assert _is_loopback(address) == is_loopback


def test_a_bad_setting_is_refused(quick_shop: Shop) -> None:
    done = quick_shop.build("--shard-images", "0")
    assert done.status == 2
    assert "--shard-images is 0; expected an integer from 1 to 1,000,000" in done.err
