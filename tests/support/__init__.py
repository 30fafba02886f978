"""Fakes, builders and processes that tests share."""
