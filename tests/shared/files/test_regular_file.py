"""Regular files are read; whatever else a path may lead to is rejected at once, and nothing of it is opened."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.errors import SnapshotError
from shared.files.regular_file import open_regular, read_regular, regular_file


@pytest.fixture
def inside(tmp_path: Path) -> Path:
    (tmp_path / "inside").mkdir()
    (tmp_path / "outside").write_bytes(b"secret")
    (tmp_path / "inside" / "file").write_bytes(b"content")
    return tmp_path / "inside"


def test_a_regular_file_is_read(inside: Path) -> None:
    assert read_regular(inside / "file", 7, inside) == b"content"
    with open_regular(inside / "file") as file:
        assert file.read() == b"content"


def test_links_are_followed_inside_a_directory(inside: Path) -> None:
    (inside / "link").symlink_to("file")
    os.link(inside / "file", inside / "hard")
    assert regular_file(inside / "link", inside) == inside.resolve() / "file"
    assert read_regular(inside / "hard", 7, inside) == b"content"


def test_the_directory_itself_may_be_a_link(inside: Path) -> None:
    (inside.parent / "other").symlink_to(inside)
    assert read_regular(inside.parent / "other" / "file", 7, inside.parent / "other") == b"content"


@pytest.mark.parametrize("target", ["../outside", "/etc/passwd", "/dev/zero"])
def test_a_link_that_leads_out_is_rejected(inside: Path, target: str) -> None:
    (inside / "link").symlink_to(target)
    with pytest.raises(SnapshotError, match="is a link that leads out of"):
        open_regular(inside / "link", inside)


def test_a_link_to_a_device_is_refused_anywhere(inside: Path) -> None:
    (inside / "link").symlink_to("/dev/zero")
    with pytest.raises(SnapshotError, match="is a device; expected a regular file"):
        open_regular(inside / "link")


def test_a_link_to_itself_is_an_error_of_the_system(inside: Path) -> None:
    (inside / "link").symlink_to("link")
    with pytest.raises(OSError, match="link"):
        open_regular(inside / "link")


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        os.chdir(path.parent)  # such names are short
        made.bind(path.name)


@pytest.mark.parametrize(("make", "kind"), [(os.mkfifo, "a FIFO"), (os.mkdir, "a directory"), (_socket, "a socket")])
def test_what_is_no_regular_file_is_rejected(
    inside: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], None], kind: str
) -> None:
    monkeypatch.chdir(inside)  # goes back afterwards
    make(inside / "other")
    with pytest.raises(SnapshotError, match=f"is {kind}; expected a regular file"):
        read_regular(inside / "other")


def test_more_bytes_than_are_expected_are_not_read(inside: Path) -> None:
    with pytest.raises(SnapshotError, match="has more than 6 bytes"):
        read_regular(inside / "file", 6)


def test_a_missing_file_is_an_error_of_the_system(inside: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_regular(inside / "nowhere")
    with pytest.raises(OSError, match="null byte"):
        open_regular(inside / "a\0b")
