"""Answers image queries from the published snapshot."""
