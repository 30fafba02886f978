"""Verification of a snapshot's files by the checksums in its manifest."""

import os
from concurrent.futures import ThreadPoolExecutor

from shared.deadline import NO_DEADLINE, Deadline
from shared.errors import SnapshotError
from shared.index.partition_files import index_files, rows_file
from shared.manifest import Manifest
from shared.snapshot.checksums import sampled_sha256_of, sha256_of
from shared.snapshot.data_directory import SnapshotPaths

_SHOWN_CHARS = 200


def verify_files(
    paths: SnapshotPaths, manifest: Manifest, by_samples: bool = False, deadline: Deadline = NO_DEADLINE
) -> None:
    """Compare every file with its checksum in the manifest.

    Args:
        paths: of the snapshot.
        manifest: of the snapshot.
        by_samples: True to read only samples of large files of vectors. Reading gigabytes would take longer than a
            service may take to start, and each of its workers would read them.
        deadline: for all files.

    Raises:
        SnapshotError: a file is missing or damaged, or is not a regular file.
    """
    samples = manifest.samples if by_samples else {}

    def verify(name: str, expected: str) -> None:
        _verify_file(paths, name, expected, samples.get(name), deadline)

    try:
        with ThreadPoolExecutor(os.cpu_count()) as pool:  # hashing releases the GIL
            for _ in pool.map(verify, *zip(*manifest.checksums.items(), strict=True)):
                pass
    except OSError as error:
        raise SnapshotError(f"{error.filename} can't be read: {error.strerror}") from error


def _verify_file(paths: SnapshotPaths, name: str, expected: str, sample: str | None, deadline: Deadline) -> None:
    path = paths.root / name
    if path.is_dir() or not os.path.lexists(path):
        raise SnapshotError(f"{path} is missing")
    if sample is not None:
        if sampled_sha256_of(path, paths.boundary) != sample:
            raise SnapshotError(f"{path} is damaged: a sample of it has changed")
    elif (digest := sha256_of(path, paths.boundary, deadline)) != expected:
        raise SnapshotError(f"{path} is damaged: its SHA-256 is {digest}, expected {expected}")


def require_own_manifest(paths: SnapshotPaths, manifest: Manifest) -> None:
    """Reject the manifest of another snapshot; a directory that is still being built has no id as its name.

    Raises:
        SnapshotError: the ids differ.
    """
    name = paths.root.name
    if not name.startswith(".") and manifest.snapshot_id != name:
        shown_id = repr(manifest.snapshot_id[:_SHOWN_CHARS])
        raise SnapshotError(f"{paths.manifest} belongs to the snapshot {shown_id}; expected {name!r}")


def require_checksums(paths: SnapshotPaths, manifest: Manifest) -> None:
    """Reject a manifest that lacks the checksum of a file that will be read, be it required or optional.

    Raises:
        SnapshotError: it names the file.
    """
    required = {paths.items, paths.classifier}
    if manifest.golden:
        required.add(paths.embedder)
    optional = {paths.validated_classifier, paths.fold_classifiers, paths.folds}
    optional |= {paths.projection, paths.text_encoder, paths.lexical_index}
    for entry in manifest.categories:
        required.add(paths.partitions / rows_file(entry.name))
        vectors, *approximate = (paths.partitions / name for name in index_files(entry.name))
        optional.update(approximate)
        (required if manifest.store is None else optional).add(vectors)
    for path in sorted(required | {path for path in optional if os.path.lexists(path)}):
        if path.relative_to(paths.root).as_posix() not in manifest.checksums:
            raise SnapshotError(f"{paths.manifest} has no checksum of {path}")
