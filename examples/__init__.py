"""Example data and examples of use."""
