from search_service.api.responses.catalogue import categories_json, item_json
from shared.catalogue.items import Item
from shared.manifest import CategoryEntry

_ITEM = Item("a/b c", "mugs", ("mugs/1.png", "mugs/2.png", "mugs/3.png"), {"price": 3, "tags": ["é", 1]})


def test_an_item_names_all_its_images() -> None:
    found = item_json("id", _ITEM)
    url = "/v1/items/a%2Fb%20c/image"
    assert found["image_url"] == url
    assert found["image_urls"] == [url, f"{url}?position=1", f"{url}?position=2"]
    assert (found["snapshot_id"], found["item_id"], found["category"]) == ("id", "a/b c", "mugs")
    assert found["metadata"] == _ITEM.metadata


def test_categories_have_their_counts() -> None:
    entries = (CategoryEntry("mugs", 2, 3, 6, "IndexFlatIP", 1.0), CategoryEntry("é", 1, 1, 1, "IndexFlatIP", 1.0))
    assert categories_json("id", entries, has_words=True) == {
        "snapshot_id": "id",
        "text_search": True,
        "categories": [{"category": "mugs", "items": 2, "images": 3}, {"category": "é", "items": 1, "images": 1}],
    }
