"""Snapshot ids: the time of the build, and six random hexadecimal digits."""

import re
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime

_STAMP = re.compile(r"[0-9]{8}T[0-9]{9}(?=-)")


def new_snapshot_id(existing: Sequence[str]) -> str:
    """An id that sorts after all existing ones, even if the clock was put back."""
    now = datetime.now(UTC)
    stamp = f"{now:%Y%m%dT%H%M%S}{now.microsecond // 1000:03}"
    latest = max((match[0] for snapshot_id in existing if (match := _STAMP.match(snapshot_id))), default="")
    if stamp <= latest:
        date, _, time = latest.partition("T")
        stamp = f"{date}T{int(time) + 1:09}"
    return f"{stamp}-{secrets.token_hex(3)}"
