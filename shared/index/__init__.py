"""One category's vectors and how they are searched."""
