"""Safe reading and locking of files."""
