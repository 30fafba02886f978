"""Ids of snapshots: the time of their making, and six random hexadecimal digits."""

import re
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime

_STAMP = re.compile(r"[0-9]{8}T[0-9]{9}(?=-)")


def new_snapshot_id(existing: Sequence[str]) -> str:
    """An id that sorts after all existing ones, also where the clock was put back."""
    now = datetime.now(UTC)
    stamp = f"{now:%Y%m%dT%H%M%S}{now.microsecond // 1000:03}"
    latest = max((found[0] for one in existing if (found := _STAMP.match(one))), default="")
    if stamp <= latest:
        date, _, time = latest.partition("T")
        stamp = f"{date}T{int(time) + 1:09}"
    return f"{stamp}-{secrets.token_hex(3)}"
