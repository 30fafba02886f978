import json
import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from indexer.catalogue.model import Problem
from indexer.catalogue.reader import read_catalogue
from indexer.console.progress import SilentReporter
from indexer.embedding import decoding
from indexer.embedding.augmentation import Augmentation
from indexer.embedding.embed_catalogue import EmbeddedCatalogue, embed_catalogue
from indexer.embedding.embed_image import EmbeddingConfig
from shared.errors import CatalogueError
from shared.images.decode import decode_image
from shared.images.limits import ImageLimits
from shared.images.preprocessing import DEFAULT_SIDE_PX, to_pixels
from shared.vectors import Pixels, Vectors
from tests.support.fakes import FakeEmbedder, picture
from tests.support.hostile_images import jpeg_of_scans, png

_COLOURS = ["red", "green", "blue", "orange", "purple", "black", "white", "teal"]


class _CountingStage:
    def __init__(self) -> None:
        self.done = 0

    def advance(self) -> None:
        self.done += 1


def _write(root: Path, *items: tuple[str, list[str]]) -> Path:
    """A catalogue of items and their images; an image is called by its colour, other names are made by the test."""
    for _, images in items:
        for image in images:
            if image in _COLOURS:
                (root / f"{image}.png").write_bytes(picture(image, file_format="PNG"))
    lines = [
        {"item_id": item_id, "category": "c", "images": [f"{i}.png" if i in _COLOURS else i for i in images]}
        for item_id, images in items
    ]
    path = root / "items.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in lines))
    return path


def _embed(
    path: Path, copies: int = 0, limits: ImageLimits | None = None, threads: int = 2, embedder: object = None
) -> EmbeddedCatalogue:
    augmentation = Augmentation(copies=copies)
    with SilentReporter().stage("embed") as stage:
        how = EmbeddingConfig(embedder or FakeEmbedder(), augmentation, limits or ImageLimits(), threads)
        return embed_catalogue(read_catalogue(path), how, stage)


def _expected(*colours: str) -> Vectors:
    limits = ImageLimits()
    pixels = [to_pixels(decode_image(picture(colour, file_format="PNG"), limits)) for colour in colours]
    return FakeEmbedder().embed(np.stack(pixels))


def _ids(embedded: EmbeddedCatalogue) -> list[str]:
    return [item.item_id for item in embedded.items]


def test_every_image_has_its_own_row_in_the_catalogues_order(tmp_path: Path) -> None:
    items = [("1", ["red"]), ("2", ["green", "blue", "orange"]), ("3", ["purple"]), ("4", ["black", "white"])]
    embedded = _embed(_write(tmp_path, *items))
    assert _ids(embedded) == ["1", "2", "3", "4"]
    assert embedded.image_items.tolist() == [0, 1, 1, 1, 2, 3, 3]
    assert embedded.image_items.dtype == np.int64
    assert embedded.views.shape == (7, 1, FakeEmbedder.dim)
    wanted = _expected("red", "green", "blue", "orange", "purple", "black", "white")
    np.testing.assert_array_equal(embedded.originals, wanted)
    assert embedded.problems == ()
    assert embedded.entries == 7


def test_views_are_the_original_and_its_augmented_copies(tmp_path: Path) -> None:
    half = np.full((DEFAULT_SIDE_PX, DEFAULT_SIDE_PX, 3), 255, np.uint8)
    half[:60] = (255, 0, 0)
    path = _write(tmp_path, ("1", ["red"]), ("2", ["half.png"]))
    Image.fromarray(half).save(tmp_path / "half.png")
    embedded = _embed(path, copies=3)
    assert embedded.views.shape == (2, 4, FakeEmbedder.dim)
    np.testing.assert_array_equal(embedded.views[0], np.repeat(_expected("red"), 4, axis=0))
    np.testing.assert_array_equal(embedded.views[1, 0], FakeEmbedder().embed(half[np.newaxis])[0])
    assert len(np.unique(embedded.views[1], axis=0)) == 4


def test_copies_depend_on_the_file_and_not_on_its_place(tmp_path: Path) -> None:
    noise: NDArray[np.uint8] = np.random.default_rng(0).integers(0, 256, (50, 50, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    first = _embed(_write(tmp_path, ("1", ["noise.png"]), ("2", ["red"])), copies=2)
    last = _embed(_write(tmp_path, ("2", ["red"]), ("3", ["blue"]), ("1", ["noise.png"])), copies=2)
    np.testing.assert_array_equal(first.views[0], last.views[2])


def test_a_picture_is_read_by_its_content_whatever_its_name_says(tmp_path: Path) -> None:
    path = _write(tmp_path, ("1", ["avif.jpg"]), ("2", ["png.avif"]), ("3", ["heic.jpg"]))
    (tmp_path / "avif.jpg").write_bytes(picture("red", file_format="AVIF"))
    (tmp_path / "png.avif").write_bytes(picture("blue", file_format="PNG"))
    (tmp_path / "heic.jpg").write_bytes(b"\0\0\0\x18ftypheic" + bytes(60))
    embedded = _embed(path)
    assert _ids(embedded) == ["1", "2"]
    np.testing.assert_allclose(embedded.originals, _expected("red", "blue"), atol=0.02)
    (problem,) = embedded.problems
    assert problem.reason.startswith("heic.jpg is not an image that can be read: it is a HEIC image; expected")


def test_images_that_decoders_die_of_become_problems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "_CPU_S", 0.2)
    path = _write(
        tmp_path, ("1", ["red"]), ("long", ["long.jpg"]), ("2", ["green"]), ("thin", ["thin.png"]), ("3", ["blue"])
    )
    (tmp_path / "long.jpg").write_bytes(jpeg_of_scans(1900, 1900, 20_000))
    (tmp_path / "thin.png").write_bytes(png(1, 3_900_000, bytes(2 * 3_900_000), colour=0))
    embedded = _embed(path, limits=ImageLimits(4_000_000, 4_000_000, 32_000_000))
    assert _ids(embedded) == ["1", "2", "3"]
    np.testing.assert_array_equal(embedded.originals, _expected("red", "green", "blue"))
    reasons = {problem.item_id: problem.reason for problem in embedded.problems}
    assert reasons["long"].startswith("long.jpg takes more than 0.2 s of processor time to decode")
    assert reasons["thin"].startswith("thin.png takes more than ")


def test_bad_images_become_problems_and_move_nobody(tmp_path: Path) -> None:
    path = _write(
        tmp_path,
        ("1", ["red"]),
        ("cut", ["cut.jpg"]),
        ("2", ["green"]),
        ("text", ["text.jpg"]),
        ("empty", ["empty.png"]),
        ("3", ["blue", "text.jpg", "orange"]),
        ("large", ["large.png"]),
        ("heavy", ["heavy.bmp"]),
        ("gone", ["gone.jpg"]),
        ("4", ["purple"]),
    )
    (tmp_path / "cut.jpg").write_bytes(picture("red", (300, 300))[:400])
    (tmp_path / "text.jpg").write_text("no picture")
    (tmp_path / "empty.png").touch()
    (tmp_path / "large.png").write_bytes(picture("red", (200, 101), "PNG"))
    (tmp_path / "heavy.bmp").write_bytes(picture("red", (100, 100), "BMP"))
    embedded = _embed(path, limits=ImageLimits(max_bytes=20_000, max_pixels=20_000))
    assert _ids(embedded) == ["1", "2", "3", "4"]
    assert embedded.items[2].images == ("blue.png", "orange.png")
    assert embedded.image_items.tolist() == [0, 1, 2, 2, 3]
    np.testing.assert_array_equal(embedded.originals, _expected("red", "green", "blue", "orange", "purple"))
    reasons = {problem.item_id: problem.reason for problem in embedded.problems}
    assert {problem.file for problem in embedded.problems} == {"items.jsonl"}
    assert [(problem.row, problem.item_id) for problem in embedded.problems] == [
        (9, "gone"),
        (2, "cut"),
        (4, "text"),
        (5, "empty"),
        (6, "3"),
        (7, "large"),
        (8, "heavy"),
    ]
    assert "does not exist" in reasons["gone"]
    assert reasons["cut"].startswith("cut.jpg can't be decoded: ")
    assert re.match(r"text\.jpg .* expected one of JPEG, ", reasons["text"])
    assert reasons["empty"].startswith("empty.png is empty")
    assert re.match(r"text\.jpg .* expected one of JPEG, ", reasons["3"])
    assert reasons["large"] == "large.png has 200 × 101 = 20,200 pixels; at most 20,000 are allowed"
    assert reasons["heavy"] == "heavy.bmp has 20,001 bytes; at most 20,000 are allowed"
    assert embedded.entries == 12


def test_a_bad_picture_in_a_folder_is_named_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    (tmp_path / "c/a.png").write_bytes(picture("red", file_format="PNG"))
    (tmp_path / "c/b.png").write_text("no picture")
    embedded = _embed(tmp_path)
    (problem,) = embedded.problems
    assert (problem.file, problem.row, problem.item_id) == (str(tmp_path / "c/b.png"), None, "c/b.png")


def test_an_image_that_goes_away_meanwhile_is_a_problem(tmp_path: Path) -> None:
    catalogue = read_catalogue(_write(tmp_path, ("1", ["red"]), ("2", ["green"])))
    (tmp_path / "red.png").unlink()
    with SilentReporter().stage("embed") as stage:
        embedded = embed_catalogue(
            catalogue, EmbeddingConfig(FakeEmbedder(), Augmentation(copies=0), ImageLimits(), 1), stage
        )
    assert _ids(embedded) == ["2"]
    assert embedded.problems == (Problem("items.jsonl", 1, "1", "red.png can't be read: No such file or directory"),)


def test_a_picture_without_a_direction_is_a_problem(tmp_path: Path) -> None:
    class Blind(FakeEmbedder):
        def embed(self, pixels: Pixels, is_alone: bool = False) -> Vectors:
            if pixels.max() == 0:
                raise ValueError("row 0 has length 0.0: it has no direction")
            return super().embed(pixels)

    embedded = _embed(_write(tmp_path, ("1", ["black"]), ("2", ["red"])), embedder=Blind())
    assert _ids(embedded) == ["2"]
    (problem,) = embedded.problems
    assert problem.reason == "black.png has no usable embedding: row 0 has length 0.0: it has no direction"


def test_nothing_good_is_an_error_with_an_example(tmp_path: Path) -> None:
    path = _write(tmp_path, ("1", ["text.jpg"]), ("2", ["text.jpg"]))
    (tmp_path / "text.jpg").write_text("no picture")
    with pytest.raises(
        CatalogueError, match=r"items\.jsonl has no usable image; 1 of 2 problems: items\.jsonl, row 1: "
    ):
        _embed(path)


def test_nothing_good_to_embed_at_all(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match=r"1 of 1 problems: items\.jsonl, row 1: the image 'gone\.jpg'"):
        _embed(_write(tmp_path, ("1", ["gone.jpg"])))


def test_the_number_of_threads_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("indexer.embedding.image_tasks._CHUNK", 3)
    items = [(str(number), [_COLOURS[number % 8], "text.jpg", _COLOURS[(number + 3) % 8]]) for number in range(20)]
    path = _write(tmp_path, *items)
    (tmp_path / "text.jpg").write_text("no picture")
    one, four = (_embed(path, copies=1, threads=threads) for threads in (1, 4))
    assert one.items == four.items
    assert one.problems == four.problems
    assert len(one.problems) == 20
    np.testing.assert_array_equal(one.image_items, four.image_items)
    np.testing.assert_array_equal(one.views, four.views)
    np.testing.assert_array_equal(one.originals[::2], _expected(*(_COLOURS[number % 8] for number in range(20))))


def test_the_stage_hears_of_every_image_good_or_bad(tmp_path: Path) -> None:
    path = _write(tmp_path, ("1", ["red", "text.jpg"]), ("2", ["blue"]))
    (tmp_path / "text.jpg").write_text("no picture")
    stage = _CountingStage()
    embed_catalogue(
        read_catalogue(path), EmbeddingConfig(FakeEmbedder(), Augmentation(copies=2), ImageLimits(), 2), stage
    )
    assert stage.done == 3
