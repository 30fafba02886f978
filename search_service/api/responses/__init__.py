"""The JSON bodies of responses."""
