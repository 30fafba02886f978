"""The exported base of a build: the published one where it is the one that is wanted, else a newly exported one."""

import gc
from dataclasses import dataclass

from indexer.published import Published
from indexer.report import Reporter
from indexer.settings import BuildSettings


@dataclass(frozen=True)
class Base:
    """An exported base.

    Attributes:
        name: `efficientnet_b0` or `efficientnet_lite0`.
        weights: where its weights came from.
        model: the bytes of `embedder.tflite`.
    """

    name: str
    weights: str
    model: bytes


def choose_base(settings: BuildSettings, published: Published | None, reporter: Reporter) -> Base:
    """Take over the published base, or export one.

    Raises:
        WeightsError: the weights can't be had.
    """
    model = published.model(settings.backbone, settings.weights) if published else None
    if published is not None and model is not None:
        return Base(published.manifest.backbone, published.manifest.weights, model)
    base = _export(settings, reporter)
    gc.collect()  # the export leaves cycles that hold 0.4 GB
    return base


def _export(settings: BuildSettings, reporter: Reporter) -> Base:
    from indexer.backbone import export_embedder, load_backbone

    backbone = load_backbone(settings.backbone, settings.weights, reporter.say)
    return Base(backbone.name, backbone.weights, export_embedder(backbone.model))
