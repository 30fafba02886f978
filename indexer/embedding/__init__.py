"""Images augmented and embedded, through a cache."""
