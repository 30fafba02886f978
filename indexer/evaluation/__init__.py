"""How good a snapshot is, in figures."""
