"""The choice of a build's backbone: the published one if it still fits, else a newly exported one.

`--fine-tune` decides whether a new one is tuned on the catalogue first. Then the catalogue is embedded by the frozen
one, as in a build without tuning, to see which images are of one group: what is held out must not be learned from
another photo. A tuned backbone stays until `--retrain`, since another one would mean embedding everything anew.
"""

import gc
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TypeAlias

from indexer.backbone.fine_tuning.stage import LabelledImages, objection_to_catalogue, tune_backbone
from indexer.catalogue.model import Catalogue
from indexer.console.progress import Reporter
from indexer.embedding.embed_catalogue import EmbeddedCatalogue
from indexer.embedding.exported_backbone import ExportedBackbone
from indexer.groups.catalogue_folds import CatalogueFolds
from indexer.settings import BuildSettings
from indexer.snapshots.published import PublishedSnapshot, is_tuned, preprocessing_of
from shared.images.preprocessing import Preprocessing
from shared.snapshot.data_directory import DataDirectory

Embed: TypeAlias = Callable[[ExportedBackbone], AbstractContextManager[EmbeddedCatalogue]]
"""Embeds a catalogue by a backbone; the embeddings can be read within the context."""


def choose_backbone(
    settings: BuildSettings,
    published: PublishedSnapshot | None,
    catalogue: Catalogue,
    reporter: Reporter,
    embed: Embed | None = None,
) -> ExportedBackbone:
    """Reuse the published backbone, or export one.

    Args:
        settings: of the build.
        published: the snapshot that is being replaced.
        catalogue: whose images a backbone is tuned on.
        reporter: receives progress and decisions.
        embed: embeds the catalogue; None if there are no images to tune on.

    Raises:
        WeightsError: the weights are not available.
    """
    model = reusable_model(settings, published)
    if published is not None and model is not None:
        manifest = published.manifest
        return ExportedBackbone(manifest.backbone, manifest.weights, model, manifest.tuning)
    side_px = preprocessing_of(DataDirectory(settings.data), settings.side).side_px
    if published is not None and published.manifest.golden and side_px != _side_px(published):
        tuned_too = ", tuned anew if it still helps," if is_tuned(published) and settings.fine_tune != "off" else ""
        reporter.say(
            f"the side of the input changes from {_side_px(published)} to {side_px} px: the backbone is exported"
            f" again{tuned_too} and every image is embedded again"
        )
    backbone = _export_backbone(settings, side_px, published, catalogue, reporter, embed)
    gc.collect()  # the export leaves reference cycles that hold 0.4 GB
    return backbone


def reusable_model(settings: BuildSettings, published: PublishedSnapshot | None) -> bytes | None:
    """Return the published model if it fits the settings; None if a backbone has to be exported."""
    if published is None or not _fits_fine_tune(settings, published):
        return None
    if settings.side is not None and settings.side != _side_px(published):
        return None
    return published.model(settings.backbone, settings.weights)


def _fits_fine_tune(settings: BuildSettings, published: PublishedSnapshot) -> bool:
    was_tried = published.manifest.tuning is not None
    if settings.fine_tune == "off":
        return not was_tried or not is_tuned(published)
    if settings.retrain:
        return False
    # `auto` decided when the backbone was chosen, unless `--fine-tune` was something else then.
    return was_tried or (settings.fine_tune == "auto" and published.manifest.settings.get("fine_tune") == "auto")


def _side_px(published: PublishedSnapshot) -> int:
    return Preprocessing.parse(published.manifest.preprocessing).side_px


def _export_backbone(
    settings: BuildSettings,
    side_px: int,
    published: PublishedSnapshot | None,
    catalogue: Catalogue,
    reporter: Reporter,
    embed: Embed | None,
) -> ExportedBackbone:
    with reporter.stage("load backbone"):  # includes the import of TensorFlow, which takes seconds
        from indexer.backbone.export import export_embedder
        from indexer.backbone.load import load_backbone

        backbone = load_backbone(settings.backbone, settings.weights, reporter.say, side_px)
        frozen = ExportedBackbone(backbone.name, backbone.weights, export_embedder(backbone.model))
    if settings.fine_tune == "off":
        return frozen
    objection, images = objection_to_catalogue(catalogue, settings), None
    if objection is None and embed is not None:
        known = None if published is None else published.folds
        with embed(frozen) as embedded:
            folds = CatalogueFolds(embedded, known, settings.seed, settings.data)
            images = LabelledImages.of(folds, catalogue.image_root, settings)
        objection = images.objection(settings)
    if objection is not None or images is None:
        reporter.say(f"the backbone is not fine-tuned: {objection}")
        return frozen
    return tune_backbone(backbone, images, settings, reporter)
