"""One module per nearest-neighbour library; `serve.py` runs each in an environment that contains only that library."""
