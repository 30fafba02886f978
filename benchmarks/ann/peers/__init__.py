"""A file a library that finds neighbours, each run by `serve.py` in an environment that holds this library alone."""
