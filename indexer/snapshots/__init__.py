"""Snapshots: writing, publishing, listing, comparing and deleting them."""
