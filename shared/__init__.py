"""The code that indexer and search service share. It imports neither of them, nor TensorFlow, nor Flask."""

__version__ = "0.1.0"
