import os
import sys
from pathlib import Path

import pytest

from indexer.files.location import FileStatus, absolute, as_os_error, exists, is_url, location, status_of
from indexer.settings import BuildSettings, remembered_settings
from shared.errors import SettingsError


def test_a_path_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert location("photos") == Path("photos")
    assert not is_url(location("photos"))
    assert absolute(location("photos")) == str(tmp_path / "photos")


def test_a_url_keeps_its_slashes() -> None:
    root = location("memory://bucket/photos")
    assert is_url(root)
    assert absolute(root / "a b/c.jpg") == "memory://bucket/photos/a b/c.jpg"
    assert str(location(absolute(root))) == str(root)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("file:///photos", r"is a file on this machine: give its path, /photos"),
        ("nowhere://photos", r"can't be opened: .*nowhere"),
        ("s3://bucket/photos", r"can't be opened: Install s3fs to access S3"),
    ],
)
def test_a_url_of_an_unknown_scheme_is_rejected(url: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(SettingsError, match=message):
        location(url)


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "upath", None)
    with pytest.raises(SettingsError, match=r"pip install 'parecido\[parquet\]'"):
        location("memory://bucket")


def test_the_status_of_a_file_is_its_size_and_time(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"123")
    os.utime(file, ns=(5, 7))
    assert status_of(file) == FileStatus(3, 7)
    with pytest.raises(FileNotFoundError):
        status_of(tmp_path / "b")


def test_the_status_at_a_url_changes_with_what_the_store_says() -> None:
    file = location("memory://bucket/status")
    file.write_bytes(b"123")
    first = status_of(file)
    assert first.st_size == 3
    assert status_of(file) == first
    file.write_bytes(b"321")
    assert status_of(file) != first
    with pytest.raises(FileNotFoundError, match="No such file"):
        status_of(location("memory://bucket/gone"))
    assert not exists(location("memory://bucket/gone"))


def test_errors_of_a_store_keep_their_message() -> None:
    class NoCredentials(Exception):
        pass

    assert as_os_error(NoCredentials("nobody")).strerror == "NoCredentials: nobody"
    refused = PermissionError(13, "Permission denied")
    assert as_os_error(refused) is refused


def test_urls_in_settings_are_remembered(tmp_path: Path) -> None:
    url = location("memory://bucket/items.parquet")
    settings = BuildSettings(url, tmp_path, image_root=location("memory://photos"))
    remembered = settings.as_dict()
    assert (remembered["catalogue"], remembered["image_root"]) == ("memory://bucket/items.parquet", "memory://photos")
    assert remembered["data"] == str(tmp_path)
    import json

    (tmp_path / "build.json").write_text(json.dumps(remembered))
    again = remembered_settings(tmp_path)
    assert is_url(again.catalogue)
    assert again.as_dict() == remembered
