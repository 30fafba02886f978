"""Catalogues as files and lists, read into items."""
