"""Reading request bodies, within bounds."""
