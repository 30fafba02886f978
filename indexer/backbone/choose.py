"""The choice of a build's backbone: the published one if it still fits, else a newly exported one.

`--fine-tune` decides whether a new one is tuned on the catalogue first. A tuned backbone stays until `--retrain`, since
another one would mean embedding everything anew.
"""

import gc

from indexer.backbone.fine_tuning.stage import LabelledImages, tune_backbone
from indexer.catalogue.model import Catalogue
from indexer.console.progress import Reporter
from indexer.embedding.exported_backbone import ExportedBackbone
from indexer.settings import BuildSettings
from indexer.snapshots.published import PublishedSnapshot, is_tuned, preprocessing_of
from shared.images.preprocessing import Preprocessing
from shared.snapshot.data_directory import DataDirectory


def choose_backbone(
    settings: BuildSettings, published: PublishedSnapshot | None, catalogue: Catalogue, reporter: Reporter
) -> ExportedBackbone:
    """Reuse the published backbone, or export one.

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
    backbone = _export_backbone(settings, side_px, catalogue, reporter)
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
    settings: BuildSettings, side_px: int, catalogue: Catalogue, reporter: Reporter
) -> ExportedBackbone:
    images = _tuning_images(settings, catalogue, reporter)
    with reporter.stage("load backbone"):  # includes the import of TensorFlow, which takes seconds
        from indexer.backbone.export import export_embedder
        from indexer.backbone.load import load_backbone

        backbone = load_backbone(settings.backbone, settings.weights, reporter.say, side_px)
        if images is None:
            return ExportedBackbone(backbone.name, backbone.weights, export_embedder(backbone.model))
    return tune_backbone(backbone, images, settings, reporter)


def _tuning_images(settings: BuildSettings, catalogue: Catalogue, reporter: Reporter) -> LabelledImages | None:
    """The images to fine-tune on; None if the backbone is not to be tuned, which is reported if it was asked for."""
    if settings.fine_tune == "off":
        return None
    images = LabelledImages.of(catalogue, settings)
    objection = images.objection(settings)
    if objection is not None:
        reporter.say(f"the backbone is not fine-tuned: {objection}")
        return None
    return images
