"""Every route through the web client, asked rightly; routes/test_bad_requests.py asks wrongly."""

import base64
import io
import mimetypes
from collections.abc import Callable
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient

from search_service.app import create_app
from search_service.engine.catalogue_lookup import CatalogueLookup
from search_service.engine.engine import Engine
from search_service.engine.feedback_log import FeedbackLog
from search_service.observability.metrics import Metrics
from search_service.settings import ServiceSettings
from search_service.snapshots.version import SnapshotVersion
from search_service.snapshots.watcher import SnapshotWatcher
from shared.errors import SnapshotError, SnapshotMissing
from shared.images.formats import MEDIA_TYPES
from tests.support.fakes import picture

_SEARCH_FIELDS = ["snapshot_id", "query", "searched", "hits", "timing_ms"]
_HIT_FIELDS = ["rank", "item_id", "score", "category", "image_url", "metadata"]
_TIMING_FIELDS = ["decode", "embed", "classify", "search", "total"]


def _url(item_id: str, tail: str = "") -> str:
    return f"/v1/items/{quote(item_id, safe='')}{tail}"


def _multipart(image: bytes, **options: str) -> dict:
    return {"data": {"image": (io.BytesIO(image), "query.png"), **options}}


def _post_image(client: FlaskClient, image: bytes, how: str, **options: object):
    if how == "multipart":
        return client.post("/v1/search", **_multipart(image, **{name: str(value) for name, value in options.items()}))
    return client.post("/v1/search", json={"image_base64": base64.b64encode(image).decode(), **options})


@pytest.fixture
def unready(tmp_path) -> FlaskClient:
    def read_published() -> SnapshotVersion:
        raise SnapshotMissing("nothing is published in data")

    watch = SnapshotWatcher(read_published, lambda _: pytest.fail("there is nothing to open"))
    watch.poll()
    return create_app(watch, ServiceSettings(), Metrics(0.98), FeedbackLog(tmp_path / "feedback.jsonl")).test_client()


# POST /v1/search


@pytest.mark.parametrize("how", ["multipart", "base64"])
def test_a_search_answers_with_exactly_the_contracts_fields(catalogue, client, how) -> None:
    response = _post_image(client, catalogue.image("👟", 1), how)
    assert response.status_code == 200
    assert response.mimetype == "application/json"
    assert "👟".encode() in response.data
    answer = response.json
    assert list(answer) == _SEARCH_FIELDS
    assert answer["snapshot_id"] == catalogue.snapshot.snapshot_id
    assert list(answer["query"]) == ["category", "confidence", "known", "known_score", "candidates"]
    assert [list(one) for one in answer["query"]["candidates"]] == [["category", "confidence"]] * 3
    assert answer["query"]["candidates"][0] == {name: answer["query"][name] for name in ("category", "confidence")}
    assert answer["query"]["category"] == catalogue.shoes
    assert answer["searched"] == [catalogue.shoes]
    assert [list(hit) for hit in answer["hits"]] == [_HIT_FIELDS] * 5
    assert [hit["rank"] for hit in answer["hits"]] == [1, 2, 3, 4, 5]
    assert list(answer["timing_ms"]) == _TIMING_FIELDS
    best = answer["hits"][0]
    assert best.pop("score") >= 0.999
    url = "/v1/items/%F0%9F%91%9F/image"
    assert best == {"rank": 1, "item_id": "👟", "category": catalogue.shoes, "image_url": url, "metadata": {}}


def test_the_four_kinds_of_query_find_the_same(catalogue, client) -> None:
    image, embedding = catalogue.image("mug-1"), catalogue.rows[catalogue.mugs][0][1]
    answers = [
        _post_image(client, image, "multipart").json,
        _post_image(client, image, "base64").json,
        client.post("/v1/search", json={"item_id": "mug-1"}).json,
        client.post("/v1/search", json={"embedding": (embedding * 3).tolist()}).json,
    ]
    found = [[(hit["item_id"], round(hit["score"], 5)) for hit in answer["hits"]] for answer in answers]
    assert found[0][0][0] == "mug-1"
    assert found == [found[0]] * 4
    assert [answer["searched"] for answer in answers] == [[catalogue.mugs]] * 4


@pytest.mark.parametrize("how", ["multipart", "base64"])
def test_options_are_followed(catalogue, client, how) -> None:
    image = catalogue.image("mug-1")

    def ask(**options: object) -> dict:
        return _post_image(client, image, how, **options).json

    assert len(ask(top_k=2)["hits"]) == 2
    assert ask(category=catalogue.hats)["searched"] == [catalogue.hats]
    assert ask(probe=2)["searched"] == [one["category"] for one in ask()["query"]["candidates"][:2]]
    assert len(ask(probe=10**6, top_k=50)["hits"]) == 15
    assert ask(probe="auto")["searched"][0] == catalogue.mugs
    scores = [hit["score"] for hit in ask()["hits"]]
    assert len(ask(min_score=(scores[1] + scores[2]) / 2)["hits"]) == 2


def test_metadata_comes_back_as_it_was(catalogue, client) -> None:
    answer = client.post("/v1/search", json={"item_id": "mug-1", "probe": 3, "top_k": 50}).json
    found = {hit["item_id"]: hit["metadata"] for hit in answer["hits"]}
    assert found == {item.item_id: dict(item.metadata) for item in catalogue.items()}
    assert found["hats/caps/1.png"] == {"price": 12.5, "sizes": ["S", "M"]}
    assert found["mug-1"]["price"] == 3
    assert found["mug-1"]["glazed"] is True
    assert found["x&y=z+w;"] == {"nested": {"depth": [1, [2.5, None]]}}


def test_json_null_is_as_if_it_were_not_there(client) -> None:
    names = ("image_base64", "embedding", "top_k", "category", "probe", "min_score", "on_unknown")
    body = {"item_id": "mug-1", **dict.fromkeys(names)}
    assert len(client.post("/v1/search", json=body).json["hits"]) == 5


# Queries that show none of the categories


@pytest.fixture
def judging_client(judging, watch_on) -> FlaskClient:
    return create_app(watch_on(judging()), ServiceSettings(), Metrics(0.98)).test_client()


@pytest.mark.parametrize("how", ["multipart", "base64"])
def test_what_becomes_of_an_unknown_query_is_the_callers_choice(judging_client, assert_error, how) -> None:
    grey = picture((128, 128, 128), file_format="PNG")

    def ask(**options: object):
        return _post_image(judging_client, grey, how, **options)

    searched = ask().json
    assert searched == searched | {"searched": [searched["query"]["category"]]}
    assert searched["query"]["known"] is False
    assert searched["query"]["known_score"] < 0
    assert len(searched["hits"]) == 5
    assert ask(on_unknown="search").json["hits"] == searched["hits"]
    empty = ask(on_unknown="empty")
    assert empty.status_code == 200
    assert (empty.json["hits"], empty.json["searched"], empty.json["query"]) == ([], [], searched["query"])
    message = assert_error(ask(on_unknown="reject"), 422, "unknown_query")
    assert f"is {searched['query']['known_score']:g}, expected 0 or more" in message
    assert len(ask(on_unknown="reject", category="mugs").json["hits"]) == 5


def test_a_known_query_is_never_rejected(judging_client) -> None:
    blue = picture((30, 30, 240), file_format="PNG")
    answer = _post_image(judging_client, blue, "multipart", on_unknown="reject").json
    assert answer["query"]["known"] is True
    assert answer["query"]["known_score"] >= 0
    assert answer["hits"]


def test_an_item_is_not_judged_so_similar_rejects_nothing(judging_client) -> None:
    answer = judging_client.get("/v1/items/mug-1/similar?on_unknown=reject").json
    assert (answer["query"]["known"], answer["query"]["known_score"]) == (None, None)
    assert len(answer["hits"]) == 4


def test_classify_says_whether_a_query_is_known(judging_client) -> None:
    for colour, known in (((30, 30, 240), True), ((128, 128, 128), False)):
        image = picture(colour, file_format="PNG")
        found = judging_client.post("/v1/classify", **_multipart(image)).json["query"]
        assert list(found) == ["category", "confidence", "known", "known_score", "candidates"]
        assert found["known"] is known
        assert found == _post_image(judging_client, image, "multipart").json["query"]


# POST /v1/classify, GET /v1/categories


def test_classify_answers_without_searching(catalogue, client) -> None:
    image, embedding = catalogue.image("#1"), catalogue.rows[catalogue.hats][-1][1]
    for response in (
        client.post("/v1/classify", **_multipart(image)),
        client.post("/v1/classify", json={"image_base64": base64.b64encode(image).decode()}),
        client.post("/v1/classify", json={"embedding": embedding.tolist()}),
    ):
        assert response.status_code == 200
        assert list(response.json) == ["snapshot_id", "query", "timing_ms"]
        assert response.json["query"]["category"] == catalogue.hats
        assert sum(one["confidence"] for one in response.json["query"]["candidates"]) == pytest.approx(1, abs=1e-5)
        assert list(response.json["timing_ms"]) == _TIMING_FIELDS


def test_categories_are_listed(catalogue, client) -> None:
    assert client.get("/v1/categories").json == {
        "snapshot_id": catalogue.snapshot.snapshot_id,
        "text_search": False,
        "categories": [
            {"category": category, "items": 5, "images": 6}
            for category in (catalogue.hats, catalogue.mugs, catalogue.shoes)
        ],
    }


# GET /v1/items/<id>, …/similar, …/image: every id of the catalogue, whatever its characters


def test_an_item_is_told(catalogue, client) -> None:
    for item in catalogue.items():
        url = _url(item.item_id, "/image")
        response = client.get(_url(item.item_id))
        assert response.status_code == 200, item.item_id
        assert response.json == {
            "snapshot_id": catalogue.snapshot.snapshot_id,
            "item_id": item.item_id,
            "category": item.category,
            "image_url": url,
            "image_urls": [url, f"{url}?position=1"][: len(item.images)],
            "metadata": item.metadata,
        }


def test_similar_items_are_found_without_the_item(catalogue, client) -> None:
    for item in catalogue.items():
        response = client.get(_url(item.item_id, "/similar?top_k=3"))
        assert response.status_code == 200, item.item_id
        assert list(response.json) == _SEARCH_FIELDS
        assert response.json["searched"] == [item.category]
        found = [hit["item_id"] for hit in response.json["hits"]]
        assert len(found) == 3
        assert item.item_id not in found


def test_similar_takes_the_options_of_a_search(catalogue, client) -> None:
    assert client.get(_url("mug-1", "/similar?min_score=1")).json["hits"] == []
    assert len(client.get(_url("mug-1", "/similar?probe=3&top_k=50")).json["hits"]) == 14
    assert client.get(_url("mug-1", "/similar?probe=auto")).json["searched"][0] == catalogue.mugs
    other = client.get(_url("mug-1", "/similar"), query_string={"category": catalogue.hats}).json
    assert other["searched"] == [catalogue.hats]


def test_an_image_url_leads_to_the_file(catalogue, client) -> None:
    answer = client.post("/v1/search", json={"item_id": "mug-1", "probe": 3, "top_k": 50}).json
    assert len(answer["hits"]) == 15
    for hit in answer["hits"]:
        with client.get(hit["image_url"]) as response:
            assert response.status_code == 200, hit["item_id"]
            assert response.data == catalogue.image(hit["item_id"])
            assert response.mimetype == "image/png"


def test_every_image_of_an_item_has_a_url(catalogue, client) -> None:
    for item in catalogue.items():
        for position, url in enumerate(client.get(_url(item.item_id)).json["image_urls"]):
            with client.get(url) as response:
                assert response.data == catalogue.image(item.item_id, position)


def test_an_unchanged_image_is_not_sent_again(client) -> None:
    url = _url("mug-1", "/image")
    with client.get(url) as response:
        etag = response.headers["ETag"]
        assert "max-age=3600" in response.headers["Cache-Control"]
    with client.get(url, headers={"If-None-Match": etag}) as response:
        assert response.status_code == 304
        assert response.data == b""
    with client.get(url, headers={"If-None-Match": '"other"'}) as response:
        assert response.status_code == 200


def test_a_part_of_an_image_is_sent(catalogue, client) -> None:
    url, whole = _url("mug-1", "/image"), catalogue.image("mug-1")
    with client.get(url, headers={"Range": "bytes=2-9"}) as response:
        assert (response.status_code, response.data) == (206, whole[2:10])
    response = client.get(url, headers={"Range": "bytes=999999-"})
    assert response.status_code == 416
    assert response.json["error"]["code"] == "requested_range_not_satisfiable"


def test_an_etag_changes_with_the_file(catalogue, watch_on, tmp_path) -> None:
    path = tmp_path / catalogue.snapshot.items.by_id("mug-1").item.images[0]
    path.parent.mkdir(parents=True)
    client = create_app(
        watch_on(Engine(catalogue.snapshot, image_root=tmp_path)), ServiceSettings(), Metrics(0.98)
    ).test_client()
    tags = []
    for content in (b"one", b"another"):
        path.write_bytes(content)
        with client.get(_url("mug-1", "/image")) as response:
            assert response.data == content
            tags.append(response.headers["ETag"])
    assert tags[0] != tags[1]
    assert not tags[0].startswith("W/")


@pytest.mark.parametrize(("suffix", "media_type"), sorted(MEDIA_TYPES.items()))
def test_an_images_type_does_not_depend_on_the_hosts_table(
    engine, watch_on, monkeypatch, tmp_path, suffix, media_type
) -> None:
    monkeypatch.setattr(mimetypes, "_db", mimetypes.MimeTypes(filenames=()))
    monkeypatch.setattr(mimetypes, "types_map", {})
    for name in (f"photo{suffix}", f"PHOTO{suffix.upper()}"):
        (tmp_path / name).write_bytes(picture("red"))
        monkeypatch.setattr(CatalogueLookup, "image_path", lambda *_, name=name: tmp_path / name)
        client = create_app(watch_on(engine), ServiceSettings(), Metrics(0.98)).test_client()
        with client.get(_url("mug-1", "/image")) as response:
            assert response.mimetype == media_type
            assert response.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    "name", ["page.html", "drawing.svg", "script.js", "photo", "photo.xhtml", "photo.jpg.html", "photo.heic"]
)
def test_a_file_that_is_not_called_like_a_picture_is_no_page(engine, watch_on, monkeypatch, tmp_path, name) -> None:
    (tmp_path / name).write_bytes(picture("red"))
    monkeypatch.setattr(CatalogueLookup, "image_path", lambda *_: tmp_path / name)
    client = create_app(watch_on(engine), ServiceSettings(), Metrics(0.98)).test_client()
    with client.get(_url("mug-1", "/image")) as response:
        assert response.mimetype == "application/octet-stream"


# Health, headers


def test_health(catalogue, client) -> None:
    assert client.get("/healthz").json == {"status": "ok"}
    assert client.get("/readyz").json == {"status": "ready", "snapshot_id": catalogue.snapshot.snapshot_id}


@pytest.mark.parametrize(
    ("published", "refused"),
    [
        (SnapshotVersion("broken", 1), {"snapshot_id": "broken", "reason": "mugs.faiss is damaged"}),
        (SnapshotMissing("nothing is published"), {"snapshot_id": None, "reason": "nothing is published"}),
    ],
)
def test_a_refusal_is_told_while_the_old_snapshot_serves_on(engine, published, refused) -> None:
    def read_published() -> SnapshotVersion:
        if isinstance(current[-1], Exception):
            raise current[-1]
        return current[-1]

    def open_engine(snapshot_id: str) -> Engine:
        if snapshot_id == "broken":
            raise SnapshotError("mugs.faiss is damaged")
        return engine

    good = SnapshotVersion(engine.snapshot_id, 0)
    current: list[SnapshotVersion | Exception] = [good]
    watch = SnapshotWatcher(read_published, open_engine)
    watch.poll()
    client = create_app(watch, ServiceSettings(), Metrics(0.98)).test_client()
    ready = {"status": "ready", "snapshot_id": engine.snapshot_id}
    for now, wanted in ((good, ready), (published, {**ready, "refused": refused}), (good, ready)):
        current.append(now)
        watch.poll()
        response = client.get("/readyz")
        assert response.status_code == 200
        assert response.json == wanted
        assert client.get("/v1/categories").json["snapshot_id"] == engine.snapshot_id


@pytest.mark.parametrize("ask", ["/v1/categories", "/v1/items/mug-1", "/v1/items/none", "/v1/items/mug-1/image"])
def test_a_request_gives_its_engine_back(engine, monkeypatch, ask) -> None:
    closed: list[bool] = []
    monkeypatch.setattr(Engine, "close", lambda _: closed.append(True))
    published = [SnapshotVersion("first", 0)]
    watch = SnapshotWatcher(lambda: published[-1], lambda _: engine)
    watch.poll()
    with create_app(watch, ServiceSettings(), Metrics(0.98)).test_client().get(ask):
        assert closed == []
        published.append(SnapshotVersion("second", 0))
        watch.poll()
        assert closed == [True]


def test_without_a_snapshot_only_healthz_answers(unready, assert_error) -> None:
    assert unready.get("/healthz").json == {"status": "ok"}
    asks: list[Callable] = [
        lambda: unready.get("/readyz"),
        lambda: unready.get("/v1/categories"),
        lambda: unready.get("/v1/items/mug-1"),
        lambda: unready.get("/v1/items/mug-1/similar"),
        lambda: unready.get("/v1/items/mug-1/image"),
        lambda: unready.post("/v1/search", json={"item_id": "mug-1"}),
        lambda: unready.post("/v1/search", **_multipart(b"image")),
        lambda: unready.post("/v1/classify", json={"embedding": [1]}),
        lambda: unready.post("/v1/feedback", json={"item_id": "mug-1", "category": "mugs"}),
    ]
    for ask in asks:
        response = ask()
        assert "nothing is published in data" in assert_error(response, 503, "not_ready")
        assert response.headers["Retry-After"] == "1"


@pytest.mark.parametrize("given", ["a", "Req-1_2.3", "x" * 64])
def test_a_sane_request_id_is_echoed(client, given) -> None:
    assert client.get("/healthz", headers={"X-Request-ID": given}).headers["X-Request-ID"] == given


@pytest.mark.parametrize("given", ["", " ", "a b", "x" * 65, "<script>", "id;rm", "é"])
def test_another_request_id_is_replaced(client, given) -> None:
    first, second = (client.get("/healthz", headers={"X-Request-ID": given}).headers["X-Request-ID"] for _ in range(2))
    assert first != second
    assert first != given
    assert len(first) == 32


@pytest.mark.parametrize("path", ["/healthz", "/v1/categories", "/v1/items/mug-1/image", "/nowhere", "/v1/items/none"])
def test_every_answer_forbids_guessing_its_type(client, path) -> None:
    with client.get(path) as response:
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["X-Request-ID"]
