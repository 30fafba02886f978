"""Catalogues, snapshots and builds for tests."""
