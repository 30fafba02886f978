import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from indexer.catalogue.formats import parquet as parquet_entries
from indexer.catalogue.model import Catalogue
from indexer.catalogue.reader import read_catalogue
from indexer.console.progress import SilentReporter
from indexer.embedding.augmentation import Augmentation
from indexer.embedding.cache import EmbeddingCache
from indexer.embedding.embed_catalogue import embed_catalogue
from indexer.embedding.embed_image import EmbeddingConfig
from indexer.files.location import location
from shared.errors import CatalogueError
from shared.images.limits import ImageLimits
from tests.support.fakes import FakeEmbedder, picture


def _write(path: Path, rows: list[dict[str, Any]], row_group_size: int = 2) -> Path:
    with path.open("wb") as file:
        parquet.write_table(pa.Table.from_pylist(rows), file, row_group_size=row_group_size)
    return path


def _row(number: int, **fields: Any) -> dict[str, Any]:
    return {"item_id": f"i{number}", "category": "c", "image": f"{number}.png", **fields}


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    for number in range(5):
        (tmp_path / f"{number}.png").write_bytes(picture((40 * number, 0, 99), file_format="PNG"))
    return tmp_path


def test_rows_of_all_row_groups_become_items_in_order(shop: Path) -> None:
    catalogue = read_catalogue(_write(shop / "items.parquet", [_row(n, price=n + 0.5) for n in range(5)]))
    assert [item.item_id for item in catalogue.items] == ["i0", "i1", "i2", "i3", "i4"]
    assert [item.images for item in catalogue.items] == [(f"{n}.png",) for n in range(5)]
    assert [item.metadata for item in catalogue.items] == [{"price": n + 0.5} for n in range(5)]
    assert [(one.file, one.row) for one in catalogue.sources] == [("items.parquet", n) for n in range(1, 6)]
    assert catalogue.image_root == shop.resolve()


def test_parquet_and_json_lines_give_the_same_items(shop: Path) -> None:
    (shop / "items.jsonl").write_text(
        '{"item_id": "a", "category": "c", "images": ["0.png", "1.png"], "tags": ["x"], "size": {"w": 2}}\n'
        '{"item_id": 7, "category": "d", "image": "2.png", "title": "é"}\n'
    )
    a = {"item_id": "a", "category": "c", "images": ["0.png", "1.png"], "tags": ["x"], "size": {"w": 2}}
    seven = {"item_id": "7", "category": "d", "images": ["2.png"], "title": "é"}
    read = read_catalogue(_write(shop / "items.parquet", [a | {"title": None}, seven | {"tags": None, "size": None}]))
    assert read.items == read_catalogue(shop / "items.jsonl").items


def test_values_that_json_lacks_are_converted(shop: Path) -> None:
    at = datetime(2026, 1, 2, 3, tzinfo=UTC)
    row = _row(0, day=at.date(), at=at, price=Decimal("9.50"), missing=float("nan"))
    (item,) = read_catalogue(_write(shop / "items.parquet", [row])).items
    assert item.metadata == {"day": "2026-01-02", "at": "2026-01-02T03:00:00+00:00", "price": 9.5}


def test_a_value_that_can_not_be_converted_is_a_problem(shop: Path) -> None:
    rows = [_row(0, raw=None, size=1.0), _row(1, raw=b"\0", size=1.0), _row(2, raw=None, size=float("inf"))]
    catalogue = read_catalogue(_write(shop / "items.parquet", rows))
    assert [item.item_id for item in catalogue.items] == ["i0"]
    assert [(one.row, one.reason) for one in catalogue.problems] == [
        (2, "has a value of type bytes; expected text, numbers, dates, or lists of them"),
        (3, "has an infinite number, which is not in JSON"),
    ]


def test_a_directory_of_parts_is_read_in_their_order(shop: Path) -> None:
    parts = shop / "items.parquet"
    parts.mkdir()
    _write(parts / "part-1.parquet", [_row(1)])
    _write(parts / "part-0.parquet", [_row(0)])
    (parts / "_SUCCESS").touch()
    catalogue = read_catalogue(parts)
    assert [item.item_id for item in catalogue.items] == ["i0", "i1"]
    assert [one.file for one in catalogue.sources] == ["part-0.parquet", "part-1.parquet"]


def test_only_one_row_group_is_read_at_a_time(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[int]] = []
    original = parquet.ParquetFile.iter_batches

    def iter_batches(self: Any, size: int, row_groups: list[int]) -> Any:
        asked.append(row_groups)
        return original(self, size, row_groups=row_groups)

    monkeypatch.setattr(parquet.ParquetFile, "iter_batches", iter_batches)
    entries = parquet_entries.parquet_entries(_write(shop / "items.parquet", [_row(n) for n in range(5)]))
    assert next(entries).row == 1
    assert asked == [[0]]
    assert len(list(entries)) == 4
    assert asked == [[0], [1], [2]]


def test_a_missing_column_is_named(shop: Path) -> None:
    path = _write(shop / "items.parquet", [{"item_id": "a", "photo": "0.png"}])
    with pytest.raises(CatalogueError, match=r"lacks category, image \(or images\); it has item_id, photo"):
        read_catalogue(path)


def test_a_damaged_file_is_named(shop: Path) -> None:
    (shop / "items.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(CatalogueError, match=r"items\.parquet can't be read as Parquet: "):
        read_catalogue(shop / "items.parquet")


def test_an_empty_directory_of_parts_is_rejected(shop: Path) -> None:
    (shop / "items.parquet").mkdir()
    with pytest.raises(CatalogueError, match=r"has no \.parquet files"):
        read_catalogue(shop / "items.parquet")


def test_without_pyarrow_the_extra_is_named(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _write(shop / "items.parquet", [_row(0)])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(CatalogueError, match=r"pip install 'parecido\[parquet\]'"):
        read_catalogue(path)


# At URLs


@pytest.fixture
def bucket(tmp_path: Path) -> Path:
    """A store in memory, which fsspec opens as it does s3://."""
    root = location(f"memory://bucket/{tmp_path.name}")
    for number in range(3):
        (root / "photos" / f"{number}.png").write_bytes(picture((80 * number, 0, 99), file_format="PNG"))
    return root


def _embed(catalogue: Catalogue, cache: EmbeddingCache | None = None) -> Any:
    with SilentReporter().stage("embed") as stage:
        how = EmbeddingConfig(FakeEmbedder(), Augmentation(copies=1), ImageLimits(), 2, cache)
        return embed_catalogue(catalogue, how, stage)


def test_images_at_a_url_are_embedded_as_those_in_a_folder(bucket: Path, tmp_path: Path) -> None:
    rows = [
        _row(0, image="photos/0.png"),
        _row(1, image=f"{bucket}/photos/1.png"),
        _row(2, image="./photos/../photos/2.png"),
        _row(3, image="photos/gone.png"),
    ]
    embedded = _embed(read_catalogue(_write(bucket / "items.parquet", rows)))
    assert [item.images for item in embedded.items] == [(f"photos/{n}.png",) for n in range(3)]
    assert [one.reason for one in embedded.problems] == ["photos/gone.png can't be read: No such file or directory"]
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes((bucket / "photos" / f"{number}.png").read_bytes())
    local = _embed(read_catalogue(_write(tmp_path / "items.parquet", [_row(n) for n in range(3)])))
    assert embedded.digests == local.digests
    assert (embedded.views == local.views).all()


def test_the_cache_knows_images_at_urls_until_they_change(bucket: Path, tmp_path: Path) -> None:
    path = _write(bucket / "items.parquet", [_row(n, image=f"photos/{n}.png") for n in range(3)])

    def build() -> int:
        cache = EmbeddingCache(tmp_path / "cache.sqlite", "r", 2, print)
        _embed(read_catalogue(path), cache)
        cache.close()
        return cache.n_put

    assert build() == 3
    assert build() == 0
    (bucket / "photos" / "1.png").write_bytes(picture("orange", file_format="PNG"))
    assert build() == 1


@pytest.mark.parametrize("image", ["../elsewhere/0.png", "memory://bucket/0.png", "/etc/passwd", "s3://bucket/0.png"])
def test_nothing_outside_the_root_is_read(bucket: Path, image: str) -> None:
    catalogue = read_catalogue(_write(bucket / "items.parquet", [_row(0, image=image)]))
    assert catalogue.items == ()
    (problem,) = catalogue.problems
    assert problem.reason == f"the image {image!r} lies outside {bucket}/: give a higher URL with --image-root"


def test_a_local_catalogue_may_name_images_at_urls(bucket: Path, tmp_path: Path) -> None:
    path = _write(tmp_path / "items.parquet", [_row(0, image=f"{bucket}/photos/0.png")])
    (problem,) = read_catalogue(path).problems
    assert "give the URL that all images lie below with --image-root" in problem.reason
    assert read_catalogue(path, bucket).items[0].images == ("photos/0.png",)


def test_a_catalogue_that_is_missing_or_not_parquet_is_rejected(bucket: Path) -> None:
    with pytest.raises(CatalogueError, match=r"/no\.parquet does not exist"):
        read_catalogue(bucket / "no.parquet")
    (bucket / "items.csv").write_text("item_id,category,image\n")
    with pytest.raises(CatalogueError, match=r"is at a URL, where only \.parquet files are read"):
        read_catalogue(bucket / "items.csv")
