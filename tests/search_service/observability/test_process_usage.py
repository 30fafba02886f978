"""What processes take, against what they are known to."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from search_service.observability import process_usage as processes
from search_service.observability.process_usage import UsageMeter, usage

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

_MB = 2**20


@contextmanager
def _child(script: str) -> Iterator[int]:
    command = [sys.executable, "-c", f"{script}\nprint('there', flush=True)\ninput()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"there\n"
        yield process.pid
        process.communicate(b"\n")


def test_memory_adds_up_and_of_open_files_the_most_count() -> None:
    with _child("x = b'x' * (64 * 2**20)") as large, _child("files = [open('/dev/null') for _ in range(50)]") as many:
        both, alone = usage([large, many], os.getpid()), usage([large], os.getpid())
        assert 64 * _MB < alone.memory_bytes < 120 * _MB
        assert both.memory_bytes > alone.memory_bytes
        assert alone.open_files < 20
        assert 53 <= both.open_files < 75


def test_memory_of_what_a_worker_has_started_counts() -> None:
    below = "import subprocess, sys\nprogram = \"x = b'x' * (64 * 2**20); print(flush=True); input()\"\n"
    start = "child = subprocess.Popen([sys.executable, '-c', program], stdin=-1, stdout=-1)\nchild.stdout.readline()"
    with _child(below + start) as worker:
        assert 64 * _MB < usage([worker], os.getpid()).memory_bytes < 120 * _MB


def test_cpu_time_never_falls_also_when_a_worker_ends() -> None:
    work = "import time\nwhile time.process_time() < 0.5: pass"
    before = usage([], os.getpid()).cpu_s
    with _child(work) as pid:
        during = usage([pid], os.getpid()).cpu_s
    after = usage([pid], os.getpid()).cpu_s
    assert before + 0.4 < during <= after < during + 1.0


def test_a_time_that_no_two_looks_agree_on_is_not_told(monkeypatch) -> None:
    monkeypatch.setattr(processes, "_ticks", lambda _: (0, time.perf_counter_ns()))
    assert usage([], os.getpid()).cpu_s is None


def test_elsewhere_than_on_linux_nothing_is_told(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(processes, "_PROC", tmp_path)
    assert usage([1, 2], 3) is None


def test_a_process_that_has_ended_takes_nothing() -> None:
    with _child("") as pid:
        pass
    assert usage([pid], os.getpid()).memory_bytes == 0


def test_a_meter_looks_once_a_second_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s, looks = 100.0, []
    monkeypatch.setattr("search_service.observability.process_usage.time.monotonic", lambda: now_s)
    monkeypatch.setattr(
        "search_service.observability.process_usage.usage", lambda workers, _: looks.append(list(workers))
    )
    meter = UsageMeter()
    for later_s, pids in ((0.0, [1]), (0.5, [1]), (0.6, [1, 2]), (2.0, [1, 2])):
        now_s = 100.0 + later_s
        meter.usage(pids, 3)
    assert looks == [[1], [1, 2], [1, 2]]
