"""Routes of the catalogue's items, images and categories."""

from flask import Blueprint, Response, jsonify, request, send_file

from search_service.api.app_state import current_engine, current_settings
from search_service.api.operations import Operation, describe
from search_service.api.requests import read_arguments
from search_service.api.responses.catalogue import CategoriesJson, ItemJson, categories_json, item_json
from search_service.api.responses.status import StatusJson, status_json
from search_service.api.schemas import CategoriesArguments, ImageArguments, MetadataFields, NoFields
from shared.images.formats import MEDIA_TYPES

catalogue_routes = Blueprint("catalogue", __name__)

_IMAGE_MAX_AGE_S = 3600
_OTHER_FILE = "application/octet-stream"


@catalogue_routes.get("/v1/items/<item_id:item_id>")
@describe(Operation("Catalogue", ItemJson, (400, 404, 503), arguments=MetadataFields))
def item(item_id: str) -> Response:
    """Get an item."""
    fields = read_arguments(request, MetadataFields, current_settings()).fields
    with current_engine() as engine:
        catalogue_item = engine.catalogue.item(item_id)
        return jsonify(item_json(engine.snapshot_id, catalogue_item, fields, request.root_path))


@catalogue_routes.get("/v1/items/<item_id:item_id>/image")
@describe(
    Operation(
        "Catalogue",
        errors=(400, 404, 416, 503),
        arguments=ImageArguments,
        media_types=("image/*", _OTHER_FILE),
        others=((206, "Partial Content"), (304, "Not Modified")),
        headers=(
            ("ETag", "Of the file: changes with its size or time."),
            ("Cache-Control", "How long it may be cached."),
        ),
    )
)
def image(item_id: str) -> Response:
    """Get an item's image file as it is in the catalogue."""
    position = read_arguments(request, ImageArguments, current_settings()).position
    with current_engine() as engine:
        path = engine.catalogue.image_path(item_id, position)
    # Only indexed formats have a media type of their own: whatever a file is called, no browser runs it.
    media_type = MEDIA_TYPES.get(path.suffix.lower(), _OTHER_FILE)
    return send_file(path, mimetype=media_type, conditional=True, max_age=_IMAGE_MAX_AGE_S)


@catalogue_routes.get("/v1/categories")
@describe(Operation("Catalogue", CategoriesJson, (400, 503), arguments=CategoriesArguments))
def categories() -> Response:
    """List the categories."""
    count = read_arguments(request, CategoriesArguments, current_settings()).examples
    with current_engine() as engine:
        entries = engine.manifest.categories
        examples = engine.catalogue.examples_of([entry.name for entry in entries if count], count)
        return jsonify(categories_json(engine.snapshot_id, entries, engine.has_words, examples, request.root_path))


@catalogue_routes.get("/v1/status")
@describe(Operation("Catalogue", StatusJson, (400, 503)))
def status() -> Response:
    """Describe the served snapshot and its quality, as measured when it was built."""
    read_arguments(request, NoFields, current_settings())
    with current_engine() as engine:
        return jsonify(status_json(engine.manifest, engine.has_words))
