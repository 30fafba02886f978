"""How fast catalogues are indexed."""
