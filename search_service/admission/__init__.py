"""Which work runs now, which waits, and which is rejected."""
