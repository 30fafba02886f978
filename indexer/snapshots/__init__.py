"""Snapshots written, published, listed and deleted."""
