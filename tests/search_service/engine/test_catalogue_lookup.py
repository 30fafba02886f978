"""What is looked up: items, and where images lie."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from search_service.engine.catalogue_lookup import CatalogueLookup
from shared.catalogue.item_store import ItemStore
from shared.catalogue.item_writer import write_items
from shared.catalogue.items import IndexedItem, Item
from shared.errors import ImageNotFound, UnknownItem
from tests.support.fakes import picture


@pytest.fixture
def served(catalogue) -> CatalogueLookup:
    return CatalogueLookup(catalogue.snapshot)


def test_items_are_those_of_the_snapshot(catalogue, served) -> None:
    for item in catalogue.items():
        assert served.item(item.item_id) == item


def test_an_unknown_item_is_named(served) -> None:
    for ask in (served.item, served.image_path):
        with pytest.raises(UnknownItem, match="'mug-2'"):
            ask("mug-2")


@pytest.fixture
def moved(catalogue, tmp_path) -> tuple[CatalogueLookup, Path]:
    """On a copy of the images, and where that copy is."""
    root = tmp_path / "images"
    shutil.copytree(catalogue.image_root, root)
    return CatalogueLookup(catalogue.snapshot, image_root=root), root


def test_an_image_is_found_at_its_position(catalogue, served) -> None:
    for item in catalogue.items():
        for position, image in enumerate(item.images):
            assert served.image_path(item.item_id, position) == (catalogue.image_root / image).resolve()


def test_the_image_root_may_be_another(catalogue, moved) -> None:
    served, root = moved
    assert served.image_path("mug-1") == root / catalogue.snapshot.items.by_id("mug-1").item.images[0]


@pytest.mark.parametrize("position", [2, 10**9, -1])
def test_a_position_out_of_range_is_refused(served, position) -> None:
    with pytest.raises(ImageNotFound, match=f"'👟' has no image {position}; the last one is 1"):
        served.image_path("👟", position)


def test_a_missing_image_is_named(catalogue, moved) -> None:
    served, root = moved
    image = catalogue.snapshot.items.by_id("mug-1").item.images[0]
    (root / image).unlink()
    with pytest.raises(ImageNotFound, match=f"'{image}' of item 'mug-1'"):
        served.image_path("mug-1")
    (root / image).mkdir()
    with pytest.raises(ImageNotFound):
        served.image_path("mug-1")


def test_a_link_out_of_the_image_root_is_not_followed(catalogue, moved) -> None:
    served, root = moved
    image = root / catalogue.snapshot.items.by_id("mug-1").item.images[0]
    inside, outside = root / "inside.png", root.parent / "outside.png"
    for target in (inside, outside):
        target.write_bytes(picture("blue", file_format="PNG"))
        image.unlink()
        image.symlink_to(target)
        if target == inside:
            assert served.image_path("mug-1") == inside
    with pytest.raises(ImageNotFound):
        served.image_path("mug-1")


def test_a_link_to_itself_is_not_found(catalogue, moved) -> None:
    served, root = moved
    image = root / catalogue.snapshot.items.by_id("mug-1").item.images[0]
    image.unlink()
    image.symlink_to(image)
    with pytest.raises(ImageNotFound):
        served.image_path("mug-1")


@pytest.mark.parametrize("image", ["../outside.png", "mugs/../../outside.png", "{outside}", "../images-2/outside.png"])
def test_a_path_out_of_the_image_root_is_not_followed(catalogue, tmp_path, image) -> None:
    root = tmp_path / "images"
    outside = tmp_path / "outside.png"
    for file in (outside, tmp_path / "images-2" / "outside.png"):
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(picture("blue", file_format="PNG"))
    (root / "mugs").mkdir(parents=True)
    indexed = catalogue.snapshot.items.by_id("mug-1")
    hostile = replace(indexed, item=replace(indexed.item, images=(image.format(outside=outside),)))
    write_items(tmp_path / "items.sqlite", [hostile])
    items = ItemStore(tmp_path / "items.sqlite")
    served = CatalogueLookup(replace(catalogue.snapshot, items=items), image_root=root)
    assert (root / hostile.item.images[0]).is_file()
    with pytest.raises(ImageNotFound):
        served.image_path("mug-1")
    items.close()


def test_examples_of_all_categories_are_bounded_and_one_of_each_stays(catalogue, served, monkeypatch) -> None:
    categories = list(catalogue.snapshot.partitions)
    alone = {category: served.examples(category, 2) for category in categories}
    assert served.examples_of(categories, 2) == alone
    monkeypatch.setattr("search_service.engine.catalogue_lookup.MAX_EXAMPLES", 1)
    assert {category: len(items) for category, items in served.examples_of(categories, 2).items()} == dict.fromkeys(
        categories, 1
    )
    assert served.examples_of([], 2) == {}


# Where the manifest alone names the root


def _named_by_manifest(catalogue, root: Path, paths: tuple[str, ...]) -> CatalogueLookup:
    """What a snapshot serves whose writer has chosen the image root and the paths."""
    write_items(root / "chosen.sqlite", [IndexedItem(Item("x", "red", paths), 0, tuple(range(len(paths))))])
    manifest = replace(catalogue.snapshot.manifest, image_root=str(root))
    return CatalogueLookup(replace(catalogue.snapshot, manifest=manifest, items=ItemStore(root / "chosen.sqlite")))


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"])
def test_an_image_of_any_format_that_is_indexed_is_handed_out(catalogue, tmp_path, file_format) -> None:
    (tmp_path / "image").write_bytes(picture("red", file_format=file_format))
    served = _named_by_manifest(catalogue, tmp_path, ("image",))
    assert served.image_path("x") == tmp_path / "image"


def test_what_is_no_image_is_not_handed_out(catalogue, tmp_path) -> None:
    (tmp_path / "passwd").write_bytes(b"root:x:0:0:root:/root:/bin/bash\n")
    (tmp_path / "empty").write_bytes(b"")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "out").symlink_to("/etc/passwd")
    names = ("passwd", "empty", "fifo", "out", "../../etc/passwd", "/etc/passwd", "nowhere")
    served = _named_by_manifest(catalogue, tmp_path, names)
    for position in range(len(names)):
        with pytest.raises(ImageNotFound):
            served.image_path("x", position)
