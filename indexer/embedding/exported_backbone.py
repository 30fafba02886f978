"""The backbone as it was exported for a snapshot: the encoder that makes the embeddings."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from indexer.snapshots.stored_folds import StoredFolds
from shared.model.classifier import Classifier


@dataclass(frozen=True)
class ExportedBackbone:
    """A backbone in LiteRT, with its origin.

    Attributes:
        name: `efficientnet_b0`, `efficientnet_lite0`, or `none` for embeddings of unknown origin.
        weights: the source of its weights, for the manifest.
        model: the bytes of `embedder.tflite`; empty for `none`.
        tuning: the figures of fine-tuning, for the manifest; None if it was not tried.
        head: the classifier head that was trained with the backbone in this build; None if it was not tuned now.
        folds: those of which it has not learned the first; None if it was not tuned now.
    """

    name: str
    weights: str
    model: bytes
    tuning: Mapping[str, Any] | None = None
    head: Classifier | None = None
    folds: StoredFolds | None = None

    @property
    def is_tuned(self) -> bool:
        """True if it was fine-tuned, and not left as pretrained."""
        return bool((self.tuning or {}).get("improved"))


UNKNOWN_BACKBONE = ExportedBackbone("none", "none: the embeddings were given", b"")
"""Stands for the encoder of precomputed embeddings where the user does not name it."""
