"""How good predictions and rankings are."""
