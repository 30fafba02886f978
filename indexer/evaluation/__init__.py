"""Figures of the quality of a snapshot."""
