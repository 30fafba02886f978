"""Read access to SQLite databases of a snapshot that may be damaged or hostile."""
