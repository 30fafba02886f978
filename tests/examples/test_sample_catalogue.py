"""The sample catalogue: its files, its list of items, and that a seed fixes its pictures."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from examples.sample_catalogue.render import CATEGORIES, QUERIES, render_catalogue

_ROOT = Path(__file__).parents[2]


def _entries(catalogue: Path) -> list[dict]:
    return [json.loads(line) for line in catalogue.read_text(encoding="utf-8").splitlines()]


def _images(entry: dict) -> list[str]:
    return entry["images"] if "images" in entry else [entry["image"]]


def _pictures(out: Path) -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*.jpg")}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("small")
    render_catalogue(out, items=2, queries=1)
    return out


def test_every_category_has_its_items(small: Path) -> None:
    entries = _entries(small / "catalogue.jsonl")
    assert [entry["item_id"] for entry in entries] == [
        f"{category}-{number:04d}" for category in CATEGORIES for number in (1, 2)
    ]
    assert {entry["category"] for entry in entries} == {"bicycle", "mouse", "watch", "keyboard"}


def test_items_tell_what_a_shop_shows(small: Path) -> None:
    for entry in _entries(small / "catalogue.jsonl"):
        assert entry["title"].lower().startswith(entry["colour"])
        assert isinstance(entry["price"], float)
        assert entry["price"] > 0
        assert entry["url"] == f"https://shop.example/p/{entry['item_id']}"


def test_pictures_decode_and_are_large_enough(small: Path) -> None:
    listed = [path for entry in _entries(small / "catalogue.jsonl") for path in _images(entry)]
    assert all(path.startswith("images/") for path in listed)
    queries = sorted((small / "queries").rglob("*.jpg"))
    assert {path.parent.name for path in queries} == set(CATEGORIES)
    for path in [*(small / name for name in listed), *queries]:
        with Image.open(path) as image:
            image.load()
            assert image.format == "JPEG"
            assert image.mode == "RGB"
            assert 400 <= min(image.size) <= max(image.size) <= 640


def test_same_seed_gives_the_same_bytes(small: Path, tmp_path: Path) -> None:
    render_catalogue(tmp_path, items=2, queries=1)
    assert _pictures(tmp_path) == _pictures(small)
    assert (tmp_path / "catalogue.jsonl").read_bytes() == (small / "catalogue.jsonl").read_bytes()


def test_another_seed_gives_other_pictures(small: Path, tmp_path: Path) -> None:
    render_catalogue(tmp_path, items=1, seed=1, queries=0)
    first = _pictures(small)
    assert all(content != first[name] for name, content in _pictures(tmp_path).items())


def test_an_item_does_not_depend_on_how_many_there_are(small: Path, tmp_path: Path) -> None:
    render_catalogue(tmp_path, items=1, queries=0)
    first = _pictures(small)
    pictures = _pictures(tmp_path)
    assert len(pictures) == len(CATEGORIES)
    assert all(content == first[name] for name, content in pictures.items())


def test_some_items_have_two_pictures_and_a_second_run_replaces_the_first(tmp_path: Path) -> None:
    entries = _entries(render_catalogue(tmp_path, items=6, queries=0))
    assert [len(_images(entry)) for entry in entries] == [1, 1, 1, 1, 1, 2] * len(CATEGORIES)
    assert len(_pictures(tmp_path)) == 7 * len(CATEGORIES)
    render_catalogue(tmp_path, items=1, queries=0)
    assert len(_pictures(tmp_path)) == len(CATEGORIES)
    assert not list(tmp_path.glob("*.part"))


def test_progress_is_told_for_each_item(tmp_path: Path) -> None:
    finished: list[None] = []
    render_catalogue(tmp_path, items=1, queries=0, on_item=lambda: finished.append(None))
    assert len(finished) == len(CATEGORIES)


def test_several_processes_draw_the_same(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("examples.sample_catalogue.render._WORTH_PROCESSES", 1)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    render_catalogue(tmp_path, items=2, queries=1)
    assert _pictures(tmp_path) == _pictures(small)


def test_command_line(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "examples.sample_catalogue",
        "--out",
        str(tmp_path),
        "--items=1",
    ]
    subprocess.run([*command, "--seed=3"], cwd=_ROOT, check=True, capture_output=True)
    assert len(_entries(tmp_path / "catalogue.jsonl")) == len(CATEGORIES)
    assert len(list((tmp_path / "queries").rglob("*.jpg"))) == QUERIES * len(CATEGORIES)
