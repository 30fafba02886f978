"""The exported base of a build: the published one where it is the one that is wanted, else a newly exported one.

`--fine-tune` decides whether a new one is tuned on the catalogue first. A tuned base stays until `--retrain`, since
another one would mean to embed everything anew.
"""

import gc
from typing import TYPE_CHECKING

from indexer.catalogue.model import Catalogue
from indexer.console.progress import Reporter
from indexer.embedding.exported_backbone import ExportedBackbone
from indexer.settings import BuildSettings
from indexer.snapshots.published import PublishedSnapshot, is_tuned

if TYPE_CHECKING:
    from indexer.backbone.fine_tuning.stage import LabelledImages


def choose_backbone(
    settings: BuildSettings, published: PublishedSnapshot | None, catalogue: Catalogue, reporter: Reporter
) -> ExportedBackbone:
    """Take over the published base, or export one.

    Raises:
        WeightsError: the weights can't be had.
    """
    model = reusable_model(settings, published)
    if published is not None and model is not None:
        manifest = published.manifest
        return ExportedBackbone(manifest.backbone, manifest.weights, model, manifest.tuning)
    base = _new_base(settings, catalogue, reporter)
    gc.collect()  # the export leaves cycles that hold 0.4 GB
    return base


def reusable_model(settings: BuildSettings, published: PublishedSnapshot | None) -> bytes | None:
    """The published base, if it is the one that a build wants; None if one has to be exported."""
    if published is None or not _is_tuned_as_wanted(settings, published):
        return None
    return published.model(settings.backbone, settings.weights)


def _is_tuned_as_wanted(settings: BuildSettings, published: PublishedSnapshot) -> bool:
    was_tried = published.manifest.tuning is not None
    if settings.fine_tune == "off":
        return not was_tried or not is_tuned(published)
    if settings.retrain:
        return False
    # `auto` had its say when the base was chosen, unless it was not asked then.
    return was_tried or (settings.fine_tune == "auto" and published.manifest.settings.get("fine_tune") == "auto")


def _new_base(settings: BuildSettings, catalogue: Catalogue, reporter: Reporter) -> ExportedBackbone:
    lesson = _lesson(settings, catalogue, reporter)
    with reporter.stage("load backbone"):  # within it: TensorFlow takes seconds to import
        from indexer.backbone.export import export_embedder
        from indexer.backbone.load import load_backbone

        backbone = load_backbone(settings.backbone, settings.weights, reporter.say)
        if lesson is None:
            return ExportedBackbone(backbone.name, backbone.weights, export_embedder(backbone.model))
    from indexer.backbone.fine_tuning.stage import tune_backbone

    return tune_backbone(backbone, lesson, settings, reporter)


def _lesson(settings: BuildSettings, catalogue: Catalogue, reporter: Reporter) -> "LabelledImages | None":
    """What to tune a base on; None where it is to stay as it is, which is said where tuning was asked for."""
    from indexer.backbone.fine_tuning.stage import LabelledImages

    if settings.fine_tune == "off":
        return None
    lesson = LabelledImages.of(catalogue, settings)
    objection = lesson.objection(settings)
    if objection is not None:
        reporter.say(f"the base is not fine-tuned: {objection}")
        return None
    return lesson
