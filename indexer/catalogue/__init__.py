"""Catalogues: folders and files of several formats, read into items."""
