from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from shared.errors import WeightsError
from shared.images.preprocessing import DEFAULT_SIDE_PX
from shared.model.embedder import LiteRtEmbedder
from shared.vectors import unit_rows

pytestmark = pytest.mark.tensorflow


def _mean_colour(scale: float | Sequence[float], side_px: int = DEFAULT_SIDE_PX) -> Any:
    """A backbone that averages colours, times `scale`."""
    import keras

    return keras.Sequential(
        [
            keras.layers.Input((side_px, side_px, 3)),
            keras.layers.Rescaling(scale),
            keras.layers.GlobalAveragePooling2D(),
        ]
    )


@pytest.mark.parametrize("side_px", [128, 224])
def test_any_backbone_can_be_exported(side_px: int) -> None:
    from indexer.backbone.export import export_embedder

    embedder = LiteRtEmbedder(export_embedder(_mean_colour(1 / 255, side_px)), interpreters=1)
    assert (embedder.dim, embedder.side_px) == (3, side_px)
    pictures = np.random.default_rng(0).integers(0, 256, (4, side_px, side_px, 3)).astype(np.uint8)
    pictures[:, :, :, 1] //= np.arange(1, 5)[:, np.newaxis, np.newaxis].astype(np.uint8)
    np.testing.assert_allclose(embedder.embed(pictures), unit_rows(pictures.mean(axis=(1, 2))), atol=2e-4)


def test_a_backbone_without_usable_embeddings_is_rejected() -> None:
    from indexer.backbone.export import export_embedder

    with pytest.raises(WeightsError, match="no usable embedding of the built-in test picture: row 0 has length 0"):
        export_embedder(_mean_colour(0.0))


def test_an_export_that_differs_from_the_backbone_is_rejected() -> None:
    from indexer.backbone.export import _check_export, to_litert

    with pytest.raises(WeightsError, match=r"the exported backbone differs from the original: cosine 0\.\d{5}"):
        _check_export(_mean_colour(1 / 255), to_litert(_mean_colour((1 / 255, 0.0, 0.0))))
