"""Comparison of HTTP servers."""
