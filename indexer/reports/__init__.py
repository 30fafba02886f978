"""Figures and pictures as files to look at."""
