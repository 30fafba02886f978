"""The search settings of an approximate index: the file of earlier versions, and invalid values."""

import json
from pathlib import Path

import pytest

from shared.errors import SnapshotError
from shared.index.search_settings import SearchSettings

_FILE = '{"kind": "HNSW16,SQfp16", "effort": 48, "depth": 30}'
_SETTINGS = SearchSettings("HNSW16,SQfp16", search_parameter=48, n_candidates=30)
_PATH = Path("mugs.approximate.json")


def test_the_file_has_the_keys_of_earlier_versions() -> None:
    assert _SETTINGS.to_json() == _FILE
    assert SearchSettings.from_json(_FILE.encode(), 100, _PATH) == _SETTINGS


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"effort": 0}, "has '0' as effort; expected 1 to 65536"),
        ({"depth": 2.5}, r"has '2\.5' as depth; expected 1 to 65536"),
        ({"kind": 3}, "has no kind of index; expected a name"),
        ({"more": 1}, "has unknown fields; expected kind, effort and depth"),
    ],
)
def test_invalid_values_are_rejected(change: dict[str, object], message: str) -> None:
    content = json.dumps({**json.loads(_FILE), **change}).encode()
    with pytest.raises(SnapshotError, match=message):
        SearchSettings.from_json(content, 100, _PATH)
