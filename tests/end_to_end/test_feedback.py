"""Feedback from the service to the next build: what users told is learned, and the same feedback trains nothing.

Builds and service run in this process, by colour and without TensorFlow.
"""

import base64
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient

from indexer.classifier.feedback_queries import LabelledQueries
from search_service.settings import ServiceSettings
from search_service.wsgi import make_app
from shared.manifest import Manifest
from tests.support.builders import quick_stages
from tests.support.builders.shop import Done, Shop
from tests.support.fakes import picture

_GREY = base64.b64encode(picture((70, 80, 90), (64, 64), "PNG")).decode()


@pytest.fixture
def learned(quick_shop: Shop, monkeypatch: pytest.MonkeyPatch) -> list[LabelledQueries | None]:
    """What each training got to learn from besides the catalogue."""
    given: list[LabelledQueries | None] = []
    trainer = quick_stages.STAGES["indexer.classifier.train"]
    train = trainer.train_classifier

    def watch(held_out: Any, seed: int, stage: Any, queries: LabelledQueries | None = None, *rest: Any) -> Any:
        given.append(queries)
        return train(held_out, seed, stage, queries, *rest)

    monkeypatch.setattr(trainer, "train_classifier", watch)
    return given


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "told" / "feedback.jsonl"


@contextmanager
def _serving(shop: Shop, path: Path) -> Iterator[FlaskClient]:
    path.parent.mkdir(exist_ok=True)
    app = make_app(ServiceSettings(data=shop.data.root, feedback=path, poll_s=3600))
    watch = app.extensions["snapshot_watcher"]
    yield app.test_client()
    watch.stop()
    with watch.engine() as engine:
        engine.close()


def _tell(shop: Shop, path: Path, category: str, images: Sequence[str] = (_GREY,)) -> None:
    with _serving(shop, path) as client:
        for image in images:
            response = client.post("/v1/feedback", json={"image_base64": image, "category": category})
            assert response.status_code == 201, response.text


def _built(done: Done) -> Done:
    assert (done.status, done.json.get("published")) == (0, True), done.err
    return done


def _figures(shop: Shop) -> tuple[int, str | None]:
    figures = Manifest.read(shop.current().manifest).classifier
    return figures["feedback_queries"], figures["feedback_digest"]


def test_what_was_told_is_learned_once(quick_shop: Shop, learned: list[Any], path: Path) -> None:
    shop = quick_shop
    assert _figures(shop) == (0, None)
    _tell(shop, path, "discs")
    done = _built(shop.build("--feedback", path))
    assert "the classifier is trained: the feedback has changed since the last training" in done.err
    assert f"feedback of {path}: 1 to train on" in done.err
    assert learned[0].categories == ("discs",)
    first, (count, digest) = shop.data.current_id(), _figures(shop)
    assert (count, digest) == (1, learned[0].digest)

    done = _built(shop.build())  # the file is remembered
    assert "nothing has changed" in done.err
    _tell(shop, path, "discs")  # nothing new
    assert "nothing has changed" in _built(shop.build()).err
    assert (shop.data.current_id(), len(learned)) == (first, 1)

    shop.change("checks 0", price=99)  # another snapshot, by the same classifier
    _built(shop.build())
    assert (_figures(shop), len(learned)) == ((count, digest), 1)

    _tell(shop, path, "stripes")  # another word on the same image
    _built(shop.build())
    assert [one.categories for one in learned] == [("discs",), ("stripes",)]
    assert _figures(shop) == (1, learned[1].digest)
    assert shop.run("verify").status == 0


def test_what_was_told_becomes_no_item_and_is_not_held_out(quick_shop: Shop, learned: list[Any], path: Path) -> None:
    before = quick_shop.hits()
    items, images = (Manifest.read(quick_shop.current().manifest).classifier[name] for name in ("items", "images"))
    pictures = [picture((shade, 9, 9), file_format="PNG") for shade in range(20)]
    _tell(quick_shop, path, "discs", [base64.b64encode(one).decode() for one in pictures])
    done = _built(quick_shop.build("--feedback", path))
    assert (done.json["items"], done.json["images"], done.json["embedded"]) == (36, 36, 0)
    assert quick_shop.hits() == before
    figures = Manifest.read(quick_shop.current().manifest).classifier
    assert (figures["items"], figures["images"], figures["feedback_queries"]) == (items, images, 20)


def test_the_images_of_the_catalogue_are_not_learned_again(quick_shop: Shop, learned: list[Any], path: Path) -> None:
    """One of them could be held out from training."""
    with _serving(quick_shop, path) as client:
        for row in quick_shop.rows():
            image = base64.b64encode((quick_shop.root / row["image"]).read_bytes()).decode()
            for query in ({"image_base64": image}, {"item_id": row["item_id"]}):
                assert client.post("/v1/feedback", json={**query, "category": "discs"}).status_code == 201
    done = _built(quick_shop.build("--feedback", path))
    assert "72 on images of the catalogue itself" in done.err
    assert "nothing has changed" in done.err
    assert learned == []


def test_without_feedback_again_it_is_forgotten(quick_shop: Shop, learned: list[Any], path: Path) -> None:
    _tell(quick_shop, path, "discs")
    _built(quick_shop.build("--feedback", path))
    _built(quick_shop.first_build())
    assert [None if one is None else one.categories for one in learned] == [("discs",), None]
    assert _figures(quick_shop) == (0, None)


def test_a_category_that_has_gone_takes_its_feedback_with_it(quick_shop: Shop, learned: list[Any], path: Path) -> None:
    _tell(quick_shop, path, "discs")
    _built(quick_shop.build("--feedback", path))
    quick_shop.write([row for row in quick_shop.rows() if row["category"] != "discs"])
    done = _built(quick_shop.build())
    assert "0 to train on; left out: 1 of categories that the catalogue does not have" in done.err
    assert learned[-1] is None


def test_a_file_that_is_gone_ends_the_build_before_it_begins(quick_shop: Shop, learned: list[Any], path: Path) -> None:
    before = quick_shop.data.current_id()
    for options in (("--feedback", path), ("--feedback", path, "--dry-run")):
        done = quick_shop.build(*options)
        assert (done.status, done.json["error"]["code"]) == (2, "invalid_setting")
        assert f"--feedback {path} is not a file" in done.json["error"]["message"]
        assert "read catalogue" not in done.err
    _tell(quick_shop, path, "discs")
    _built(quick_shop.build("--feedback", path))
    path.unlink()
    assert quick_shop.build().status == 2
    assert quick_shop.data.current_id() > before
    assert len(learned) == 1


def test_a_dry_run_tells_that_feedback_would_train(quick_shop: Shop, learned: list[Any], path: Path) -> None:
    def reason(*options: object) -> Any:
        done = quick_shop.build("--dry-run", *options)
        assert done.status == 0, done.err
        return done.json["reason_to_train"]

    _tell(quick_shop, path, "discs")
    assert reason() is None
    assert reason("--feedback", path) == "the feedback has changed since the last training"
    _built(quick_shop.build("--feedback", path))
    assert reason() is None
    assert reason("--augmentations", 0) == "the recipe of the embeddings has changed"
    _tell(quick_shop, path, "stripes")
    assert reason() == "the feedback has changed since the last training"
    assert len(learned) == 1


def test_a_line_that_a_crash_has_torn_is_left_out_with_a_word(quick_shop: Shop, learned: list[Any], path: Path) -> None:
    _tell(quick_shop, path, "discs")
    whole = path.read_bytes()
    path.write_bytes(whole + whole[: len(whole) // 2])
    done = _built(quick_shop.build("--feedback", path))
    assert "1 to train on; left out: 1 in damaged or incomplete lines" in done.err
    np.testing.assert_array_equal(learned[0].columns(("checks", "discs", "stripes")), [1])
