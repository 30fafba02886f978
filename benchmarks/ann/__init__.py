"""Approximate search beside other libraries."""
