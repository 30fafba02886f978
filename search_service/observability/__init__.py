"""Metrics, logs and the states of the worker processes."""
