"""Groups of images that are not independent of each other, and their division into folds."""
