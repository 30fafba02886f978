"""Certificates that vouch for themselves, made by openssl."""

import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest


class Certified(NamedTuple):
    """Two files in PEM."""

    certificate: Path
    key: Path


def certify(directory: Path, *names: str) -> Certified:
    """For hosts of these names; skips the test where there is no openssl."""
    made = Certified(directory / "certificate.pem", directory / "key.pem")
    alternatives = ",".join(f"DNS:{name}" for name in names)
    done = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test",
         "-addext", f"subjectAltName={alternatives}", "-keyout", made.key, "-out", made.certificate],
        capture_output=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        pytest.skip("openssl makes no certificate here")
    return made
