"""What is served, and examples of what is in it."""

import pytest
from flask.testing import FlaskClient

from search_service.api.responses.status import status_json
from tests.support.fakes import fake_manifest


def test_the_status_tells_what_the_manifest_has(catalogue, client: FlaskClient) -> None:
    told = client.get("/v1/status").json
    manifest = catalogue.snapshot.manifest
    assert (told["snapshot_id"], told["created_at"]) == (manifest.snapshot_id, manifest.created_at)
    assert told["items"] == sum(one["items"] for one in told["categories"]) == len(catalogue.items())
    assert [one["category"] for one in told["categories"]] == [catalogue.hats, catalogue.mugs, catalogue.shoes]
    assert {one["ann_recall_at_10"] for one in told["categories"]} == {1.0}


@pytest.mark.parametrize(("tuning", "tuned"), [(None, False), ({"improved": True}, True), ({"improved": False}, False)])
def test_a_base_counts_as_tuned_where_that_was_better(tuning: dict | None, tuned: bool) -> None:
    assert status_json(fake_manifest(tuning=tuning), has_words=False)["tuned"] is tuned


def test_categories_have_examples_where_they_are_asked_for(catalogue, client: FlaskClient) -> None:
    assert all("examples" not in one for one in client.get("/v1/categories").json["categories"])
    for category in client.get("/v1/categories?examples=3").json["categories"]:
        ids = [example["item_id"] for example in category["examples"]]
        assert len(ids) == len(set(ids)) == 3
        assert set(ids) <= set(catalogue.ids(category["category"]))
        for example in category["examples"]:
            with client.get(example["image_url"]) as image:
                assert image.status_code == 200


def test_a_category_has_no_more_examples_than_items(catalogue, client: FlaskClient) -> None:
    for category in client.get("/v1/categories?examples=12").json["categories"]:
        assert [one["item_id"] for one in category["examples"]] == catalogue.ids(category["category"])


@pytest.mark.parametrize("given", ["13", "-1", "many", ""])
def test_examples_are_so_many(client: FlaskClient, assert_error, given: str) -> None:
    assert "examples" in assert_error(client.get(f"/v1/categories?examples={given}"), 400, "invalid_request")
