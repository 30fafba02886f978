import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from indexer.settings import BuildSettings, remembered_settings
from shared.errors import SettingsError, SnapshotMissing


def _settings(**values: object) -> BuildSettings:
    return BuildSettings(**{"catalogue": Path("shop"), "data": Path("data"), **values})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("backbone", "resnet", "--backbone is 'resnet'; expected one of: auto, efficientnet_b0, efficientnet_lite0"),
        ("index_views", "some", "--index-views is 'some'; expected one of: original, all"),
        ("augmentations", -1, "--augmentations is -1; expected an integer from 0 to 64"),
        ("augmentations", 65, "--augmentations is 65; expected an integer from 0 to 64"),
        ("max_bad", -0.01, "--max-bad is -0.01; expected a number from 0 to 1"),
        ("max_bad", 5.0, "--max-bad is 5.0; expected a number from 0 to 1"),
        ("max_bad", float("nan"), "--max-bad is nan; expected a number from 0 to 1"),
        ("max_image_bytes", 0, "--max-image-bytes is 0; expected an integer greater than 0"),
        ("max_image_pixels", -5, "--max-image-pixels is -5; expected an integer greater than 0"),
        ("workers", -1, r"--workers is -1; expected an integer from 0 to 1,024"),
        ("workers", 1025, r"--workers is 1025; expected an integer from 0 to 1,024"),
        ("side", 96, "--side is 96; expected an integer from 128 to 352, a multiple of 32"),
        ("side", 225, "--side is 225; expected an integer from 128 to 352, a multiple of 32"),
        ("side", 384, "--side is 384; expected an integer from 128 to 352, a multiple of 32"),
        ("seed", -1, "--seed is -1; expected an integer from 0 to 2,147,483,647"),
        ("seed", 2**31, "--seed is 2147483648; expected an integer from 0 to 2,147,483,647"),
    ],
)
def test_an_invalid_value_names_its_option(name: str, value: object, message: str) -> None:
    with pytest.raises(SettingsError, match=f"^{message}$"):
        _settings(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("augmentations", 0),
        ("augmentations", 64),
        ("max_bad", 0.0),
        ("max_bad", 1.0),
        ("seed", 0),
        ("side", 128),
        ("side", 352),
    ],
)
def test_the_ends_of_a_range_are_allowed(name: str, value: object) -> None:
    assert getattr(_settings(**{name: value}), name) == value


def test_a_side_needs_a_network_that_has_it() -> None:
    with pytest.raises(SettingsError, match=r"--side is 256; expected none with --embeddings, unless --backbone names"):
        _settings(embeddings=Path("e.npy"), side=256)
    assert _settings(embeddings=Path("e.npy"), side=256, backbone="efficientnet_lite0").side == 256


def test_threads_are_the_cores_by_default() -> None:
    assert _settings().threads == os.cpu_count()
    assert _settings(workers=3).threads == 3


def test_settings_are_remembered_with_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "data"
    data.mkdir()
    given = _settings(image_root=Path("photos"), weights=Path("b0.h5"), augmentations=5, max_bad=0.5, seed=9)
    given = replace(given, feedback=Path("feedback.jsonl"))
    (data / "build.json").write_text(json.dumps(given.as_dict()))
    found = remembered_settings(data)
    assert found.catalogue == tmp_path / "shop"
    assert found.image_root == tmp_path / "photos"
    assert found.weights == tmp_path / "b0.h5"
    assert found.feedback == tmp_path / "feedback.jsonl"
    assert found.data == data
    assert (found.augmentations, found.max_bad, found.seed, found.backbone) == (5, 0.5, 9, "auto")


def test_paths_that_were_not_given_stay_so(tmp_path: Path) -> None:
    (tmp_path / "build.json").write_text(json.dumps(_settings().as_dict()))
    found = remembered_settings(tmp_path)
    assert (found.image_root, found.weights, found.feedback) == (None, None, None)


def test_a_data_directory_that_was_moved_is_itself(tmp_path: Path) -> None:
    (tmp_path / "build.json").write_text(json.dumps(_settings(data=Path("/elsewhere")).as_dict()))
    assert remembered_settings(tmp_path).data == tmp_path


def test_settings_of_a_later_version_are_ignored(tmp_path: Path) -> None:
    (tmp_path / "build.json").write_text(json.dumps({**_settings().as_dict(), "new_option": 1}))
    assert remembered_settings(tmp_path).augmentations == 2


def test_nothing_is_remembered_before_the_first_build(tmp_path: Path) -> None:
    with pytest.raises(SnapshotMissing, match=r"build\.json does not exist: name a catalogue with --catalogue PATH"):
        remembered_settings(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"build\.json can't be read: "),
        ("[]", r"build\.json holds a list; expected a JSON object"),
        ("{}", r"build\.json does not hold the settings of a build: .*catalogue"),
        (
            '{"catalogue": "shop", "augmentations": "two"}',
            r"the settings of a build: --augmentations is 'two'; expected an integer",
        ),
        ('{"catalogue": 5}', r"build\.json does not hold the settings of a build: --catalogue is 5; expected a path"),
        ('{"catalogue": "shop", "augmentations": 99}', "--augmentations is 99"),
    ],
)
def test_a_damaged_file_is_rejected(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "build.json").write_text(text)
    with pytest.raises(SettingsError, match=message):
        remembered_settings(tmp_path)
