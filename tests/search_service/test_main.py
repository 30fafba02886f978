"""The command: how settings become gunicorn's, and what a bad one ends with. tests/end_to_end runs it for real."""

import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from gunicorn.config import Config

from search_service import __main__ as command
from search_service.access.api_keys import ApiKeys
from search_service.environment import PREFIX, variable
from search_service.server.worker import HttpWorker
from search_service.settings import ServiceSettings


@pytest.fixture
def served(monkeypatch) -> list[Config]:
    """Gunicorn's configuration each time that the command would serve; the environment has no settings."""
    monkeypatch.setattr(command, "configure", lambda *_: None)  # the tests' own log stays
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)
    served: list[Config] = []
    monkeypatch.setattr(command.GunicornApp, "run", lambda server: served.append(server.cfg))
    return served


def test_settings_become_gunicorns(served, monkeypatch) -> None:
    monkeypatch.setenv("PARECIDO_WORKERS", "3")
    assert command.main() == 0
    [config] = served
    assert (config.workers, config.worker_class) == (3, HttpWorker)
    assert config.preload_app is False
    assert (config.max_requests, config.graceful_timeout) == (0, 30)


def test_a_worker_is_replaced_after_so_many_requests_or_some_more(served, monkeypatch) -> None:
    monkeypatch.setenv("PARECIDO_MAX_REQUESTS", "1000")
    monkeypatch.setenv("PARECIDO_GRACE_S", "7")
    assert command.main() == 0
    [config] = served
    assert (config.max_requests, config.max_requests_jitter, config.graceful_timeout) == (1000, 100, 7)


def test_nothing_in_the_environment_changes_gunicorn_but_our_settings(served, monkeypatch) -> None:
    monkeypatch.setenv("WEB_CONCURRENCY", "9")
    monkeypatch.setenv("GUNICORN_CMD_ARGS", "--timeout 1")
    assert command.main() == 0
    [config] = served
    assert (config.workers, config.timeout) == (1, 30)


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "localhost", "::1", "::"])
def test_the_address_may_be_of_either_kind(served, monkeypatch, host) -> None:
    monkeypatch.setenv("PARECIDO_HOST", host)
    monkeypatch.setenv("PARECIDO_PORT", "8099")
    assert command.main() == 0
    assert served[0].address == [(host, 8099)]


def test_a_bad_setting_ends_with_status_2_and_one_line(served, monkeypatch, capsys) -> None:
    monkeypatch.setenv("PARECIDO_THREADS", "none")
    assert command.main() == 2
    assert served == []
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("parecido: PARECIDO_THREADS is 'none'; expected an integer from 1 to 1,024")


@pytest.mark.usefixtures("served")
def test_workers_share_a_fresh_directory_that_is_gone_at_the_end(monkeypatch) -> None:
    directories: list[Path] = []

    def note(_: command.GunicornApp) -> None:
        directories.append(Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]))
        assert [path.name for path in directories[-1].iterdir()] == ["in-use"]
        (directories[-1] / "counter_1.db").write_bytes(b"left over")

    monkeypatch.setattr(command.GunicornApp, "run", note)
    assert [command.main(), command.main()] == [0, 0]
    first, second = directories
    assert first != second
    assert not first.exists()
    assert not second.exists()
    assert "PROMETHEUS_MULTIPROC_DIR" not in os.environ


def test_prometheus_client_is_not_imported_before_the_fork() -> None:
    # It decides on import, by the environment, whether it counts for several processes.
    script = "import search_service.__main__, sys; sys.exit('prometheus_client' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parents[2], check=True)


@pytest.mark.parametrize(("host", "warned"), [("127.0.0.1", False), ("0.0.0.0", True)])
def test_listening_for_others_without_a_restraint_is_warned_of(served, monkeypatch, caplog, host, warned) -> None:
    monkeypatch.setenv("PARECIDO_HOST", host)
    assert command.main() == 0
    assert ("without PARECIDO_API_KEYS or PARECIDO_RATE_LIMIT" in caplog.text) is warned
    caplog.clear()
    monkeypatch.setenv("PARECIDO_RATE_LIMIT", "10/s")
    assert command.main() == 0
    assert caplog.text == ""


def test_a_bad_file_of_keys_ends_with_status_2(served, monkeypatch, capsys, tmp_path) -> None:
    monkeypatch.setenv("PARECIDO_API_KEYS", str(tmp_path / "none"))
    assert command.main() == 2
    assert served == []
    assert "PARECIDO_API_KEYS names" in capsys.readouterr().err


def test_a_new_key_is_accepted_by_the_line_that_is_printed(capsys, tmp_path) -> None:
    assert command.main(["new-key", "shop"]) == 0
    shown, _, line = capsys.readouterr().out.splitlines()
    (tmp_path / "keys").write_text(line)
    assert ApiKeys(tmp_path / "keys").name_of(shown.split()[-1]) == "shop"
    with pytest.raises(SystemExit, match="2"):
        command.main(["new-key"])


def test_help_describes_every_setting(served, capsys) -> None:
    with pytest.raises(SystemExit, match="0"):
        command.main(["--help"])
    shown = capsys.readouterr().out
    assert served == []
    assert "PARECIDO_PORT (default: 8080)\n      the port to listen on; 0 takes a free one; an integer" in shown
    assert all(variable(field.name) in shown for field in fields(ServiceSettings))
    assert max(map(len, shown.splitlines())) <= 80


def test_an_unknown_argument_is_a_usage_error(served) -> None:
    with pytest.raises(SystemExit, match="2"):
        command.main(["--port", "9"])
    assert served == []
