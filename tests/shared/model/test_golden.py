"""The golden embedding: the same test image for ever, and the check of a model against it."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from shared.errors import SnapshotError
from shared.images.preprocessing import SIDE_PX
from shared.model.embedder import LiteRtEmbedder
from shared.model.golden import check_golden, golden_image
from shared.vectors import Pixels
from tests.support.fakes import FakeEmbedder


@pytest.fixture(scope="module")
def lite0(lite0_tflite: Path) -> LiteRtEmbedder:
    return LiteRtEmbedder.open(lite0_tflite, interpreters=1)


def test_the_golden_image_is_always_the_same() -> None:
    """Published snapshots hold its embedding: a changed pixel would reject them all."""
    golden = golden_image()
    assert golden.shape == (1, SIDE_PX, SIDE_PX, 3)
    assert golden.dtype == np.uint8
    assert hashlib.sha256(golden.tobytes()).hexdigest()[:16] == "bf9be5f2cf6a62bd"


@pytest.mark.tensorflow
def test_the_golden_check_passes_for_the_same_model(lite0: LiteRtEmbedder) -> None:
    golden = lite0.embed(golden_image())[0]
    check_golden(lite0, golden)
    check_golden(lite0, golden + np.float32(1e-6))


@pytest.mark.tensorflow
def test_the_golden_check_rejects_another_embedding(lite0: LiteRtEmbedder) -> None:
    noise: Pixels = np.random.default_rng(0).integers(0, 256, size=(1, SIDE_PX, SIDE_PX, 3), dtype=np.uint8)
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
