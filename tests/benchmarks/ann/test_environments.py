import pytest

from benchmarks.ann.environments import OURS, PEERS, requirements


@pytest.mark.parametrize("peer", ["http_servers", *sorted(path.stem for path in PEERS.glob("*.py"))])
def test_every_peer_has_exact_versions(peer: str) -> None:
    if peer in (OURS, "__init__", "serve"):
        return
    wanted = requirements(peer)
    assert wanted
    assert all("==" in package for package in wanted)
