"""What a shell completes where the parser can't know it: the ids of snapshots."""

import argparse
from typing import Any

from shared.snapshot.data_directory import DataDirectory


def snapshot_ids(parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    """The snapshots of the data directory that the command line names so far; argcomplete keeps what fits."""
    return DataDirectory(parsed_args.data).ids()
