"""The command: how settings become gunicorn's, and what a bad one ends with. tests/end_to_end runs it for real."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from gunicorn.config import Config

from search_service import __main__ as command
from search_service.draining import DrainingWorker
from search_service.settings import PREFIX


@pytest.fixture
def served(monkeypatch) -> list[Config]:
    """Gunicorn's configuration each time that the command would serve; the environment has no settings."""
    for variable in [one for one in os.environ if one.startswith(PREFIX)]:
        monkeypatch.delenv(variable)
    served: list[Config] = []
    monkeypatch.setattr(command._Server, "run", lambda server: served.append(server.cfg))
    return served


def test_settings_become_gunicorns(served, monkeypatch) -> None:
    monkeypatch.setenv("PARECIDO_WORKERS", "3")
    monkeypatch.setenv("PARECIDO_THREADS", "5")
    monkeypatch.setenv("PARECIDO_QUEUE", "20")
    monkeypatch.setattr("search_service.settings.os.cpu_count", lambda: 6)
    assert command.main() == 0
    [config] = served
    assert (config.workers, config.threads, config.worker_class) == (3, 2 + 20 + 5, DrainingWorker)
    assert config.preload_app is False


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
    assert line.startswith("parecido: PARECIDO_THREADS is 'none': ")


def test_workers_share_a_fresh_directory_that_is_gone_at_the_end(monkeypatch) -> None:
    directories: list[Path] = []

    def note(_: command._Server) -> None:
        directories.append(Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]))
        assert list(directories[-1].iterdir()) == []
        (directories[-1] / "counter_1.db").write_bytes(b"left over")

    monkeypatch.setattr(command._Server, "run", note)
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
