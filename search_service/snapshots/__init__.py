"""Following `current`: opening new snapshots and swapping them in."""
