"""Queries answered from one snapshot, without the web."""
