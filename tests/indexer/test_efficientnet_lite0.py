from pathlib import Path

import numpy as np
import pytest

from shared.errors import WeightsError
from shared.images import SIDE_PX, to_pixels
from shared.vectors import Pixels

pytestmark = pytest.mark.tensorflow

# ImageNet's numbers of what scikit-learn's two sample photos show: the roofs of the Summer Palace, and a dahlia, for
# which the nearest class is the daisy.
_BUILDINGS = {"bell cote": 442, "boathouse": 449, "palace": 698}
_DAISY = 985


@pytest.fixture(scope="module")
def photos() -> Pixels:
    from PIL import Image
    from sklearn.datasets import load_sample_image

    return np.stack([to_pixels(Image.fromarray(load_sample_image(name))) for name in ("china.jpg", "flower.jpg")])


def test_with_its_top_it_knows_what_photos_show(photos: Pixels) -> None:
    from indexer.efficientnet_lite0 import build_lite0, weights_path

    logits = np.asarray(build_lite0(weights_path(), with_top=True)(photos.astype(np.float32), training=False))
    assert logits.shape == (2, 1000)
    china, flower = np.argsort(-logits, axis=1)
    print(china[:5], flower[:5])
    assert china[0] in _BUILDINGS.values()
    assert flower[0] == _DAISY
