import json
from pathlib import Path

import numpy as np

from indexer.embedding.embed_catalogue import EmbeddedCatalogue
from indexer.snapshots.export_embeddings import export
from shared.snapshot.snapshot import Snapshot


def test_rows_and_paths_go_together_in_the_catalogues_order(
    snapshot: Snapshot, embedded: EmbeddedCatalogue, tmp_path: Path
) -> None:
    out = tmp_path / "new" / "export"
    assert export(snapshot, out) == 7
    paths = json.loads((out / "paths.json").read_text(encoding="utf-8"))
    names = ["red.png", "orange.png", "blue.png", "tomato.png", "teal.png", "navy.png", "cyan.png"]
    assert paths == [str(tmp_path / name) for name in names]
    embeddings = np.load(out / "embeddings.npy", allow_pickle=False)
    assert embeddings.dtype == np.float32
    np.testing.assert_array_equal(embeddings, embedded.originals)


def test_an_earlier_export_is_replaced(snapshot: Snapshot, tmp_path: Path) -> None:
    (tmp_path / "paths.json").write_text("old")
    export(snapshot, tmp_path)
    export(snapshot, tmp_path)
    assert len(json.loads((tmp_path / "paths.json").read_text(encoding="utf-8"))) == 7
