"""API keys: what a file may say, and what becomes of it while the service runs."""

import hashlib
import logging
import os
from pathlib import Path

import pytest

from search_service.access.api_keys import ApiKeys, new_key
from shared.errors import SettingsError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys"


def _write(file: Path, *lines: str) -> None:
    file.write_text("\n".join(lines), encoding="utf-8")
    changed = file.stat().st_mtime_ns + 1_000_000_000  # the clock of a file system may be coarse
    os.utime(file, ns=(changed, changed))


def test_a_new_key_is_let_in_by_its_line_and_no_other_is(file: Path) -> None:
    (shop, shop_line), (app, app_line) = new_key("shop"), new_key("app.v2")
    assert len(shop) >= 43  # 256 bits
    assert shop not in shop_line
    assert shop_line == f"shop {hashlib.sha256(shop.encode()).hexdigest()}"
    _write(file, "# ours", "", shop_line, f"  {app_line}  ")
    keys = ApiKeys(file)
    assert [keys.name_of(key) for key in (shop, app)] == ["shop", "app.v2"]
    for wrong in ("", shop[:-1], f"{shop} ", shop_line.split()[1], "ü", "\udcff"):
        assert keys.name_of(wrong) is None


@pytest.mark.parametrize("name", ["", "two words", "ü", "x" * 65, "a\nb", "#a"])
def test_names_are_plain(name: str) -> None:
    with pytest.raises(SettingsError, match="expected 1 to 64"):
        new_key(name)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "has no API keys"),
        (["# nothing"], "has no API keys"),
        (["shop"], "line 1: expected a name and a SHA-256 of 64 hex digits"),
        (["# ours", "shop plain-text-key"], "line 2: expected"),
        (["shop " + "A" * 64], "line 1: expected"),
        (["shop " + "a" * 64, "shop " + "b" * 64], "line 2: duplicate name shop, or duplicate key"),
        (["shop " + "a" * 64, "app " + "a" * 64], "line 2: duplicate name app, or duplicate key"),
    ],
)
def test_a_bad_file_says_where(file: Path, lines: list[str], message: str) -> None:
    _write(file, *lines)
    with pytest.raises(SettingsError, match=message) as caught:
        ApiKeys(file)
    assert "plain-text-key" not in str(caught.value)


def test_a_file_that_is_not_there_says_so(file: Path) -> None:
    with pytest.raises(SettingsError, match=r"PARECIDO_API_KEYS names .*keys, which cannot be read"):
        ApiKeys(file)


def test_a_key_that_is_taken_out_is_let_in_no_more(file: Path) -> None:
    (shop, shop_line), (app, app_line) = new_key("shop"), new_key("app")
    _write(file, shop_line)
    keys = ApiKeys(file)
    assert keys.name_of(app) is None
    _write(file, app_line)
    assert (keys.name_of(shop), keys.name_of(app)) == (None, "app")


@pytest.mark.parametrize("becomes", ["bad", "gone"])
def test_a_file_that_becomes_bad_changes_nothing_and_is_said_once(file: Path, becomes: str, caplog) -> None:
    key, line = new_key("shop")
    _write(file, line)
    keys = ApiKeys(file)
    if becomes == "bad":
        _write(file, line, "shop")
    else:
        file.unlink()
    with caplog.at_level(logging.ERROR):
        assert [keys.name_of(key) for _ in range(3)] == ["shop"] * 3
    assert len(caplog.records) == 1
    other, other_line = new_key("other")
    _write(file, other_line)
    assert (keys.name_of(key), keys.name_of(other)) == (None, "other")
