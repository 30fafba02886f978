"""A catalogue of drawn product pictures, to try the search with."""
