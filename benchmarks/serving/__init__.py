"""How fast and how robustly queries are answered."""
