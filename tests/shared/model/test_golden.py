"""The golden embedding: the same test image for ever, and the check of a model against it."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shared.errors import SnapshotError
from shared.images.preprocessing import DEFAULT_SIDE_PX
from shared.model.embedder import LiteRtEmbedder
from shared.model.golden import check_golden, golden_image
from shared.vectors import Pixels
from tests.support.fakes import FakeEmbedder


@pytest.fixture(scope="module")
def lite0(lite0_tflite: Path) -> LiteRtEmbedder:
    return LiteRtEmbedder.open(lite0_tflite, interpreters=1)


@pytest.mark.parametrize(
    ("side_px", "digest"), [(224, "bf9be5f2cf6a62bd"), (288, "2420fab3da15c7fb"), (128, "a38ee2a8c3c7bdbb")]
)
def test_the_golden_image_is_always_the_same(side_px: int, digest: str) -> None:
    """Published snapshots hold its embedding: a changed pixel would reject them all."""
    golden = golden_image(side_px)
    assert golden.shape == (1, side_px, side_px, 3)
    assert golden.dtype == np.uint8
    assert hashlib.sha256(golden.tobytes()).hexdigest()[:16] == digest


def test_the_golden_image_shows_the_same_at_every_side() -> None:
    small, large = (Image.fromarray(golden_image(side_px)[0]).resize((56, 56)) for side_px in (224, 352))
    assert np.abs(np.asarray(small).astype(int) - np.asarray(large)).mean() < 4


@pytest.mark.tensorflow
def test_the_golden_check_passes_for_the_same_model(lite0: LiteRtEmbedder) -> None:
    golden = lite0.embed(golden_image())[0]
    check_golden(lite0, golden)
    check_golden(lite0, golden + np.float32(1e-6))


@pytest.mark.tensorflow
def test_the_golden_check_rejects_another_embedding(lite0: LiteRtEmbedder) -> None:
    noise: Pixels = np.random.default_rng(0).integers(
        0, 256, size=(1, DEFAULT_SIDE_PX, DEFAULT_SIDE_PX, 3), dtype=np.uint8
    )
    with pytest.raises(SnapshotError, match=r"cosine 0\.\d{4}; expected at least 0\.999"):
        check_golden(lite0, lite0.embed(noise)[0])


@pytest.mark.tensorflow
def test_the_golden_check_rejects_another_length(lite0: LiteRtEmbedder) -> None:
    with pytest.raises(SnapshotError, match=r"has shape \(8,\); expected \(1280,\)"):
        check_golden(lite0, FakeEmbedder().embed(golden_image())[0])


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_the_golden_check_rejects_what_has_no_direction(value: float) -> None:
    with pytest.raises(SnapshotError, match="golden"):
        check_golden(FakeEmbedder(), np.full(FakeEmbedder.dim, value, np.float32))
