"""What indexer and search service both stand on. Imports neither of them, nor TensorFlow, nor Flask."""

__version__ = "0.1.0"
