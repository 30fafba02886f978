"""Builds killed at random moments."""
