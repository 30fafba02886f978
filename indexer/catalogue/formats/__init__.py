"""Formats of catalogues, one module each: functions that yield entries."""
