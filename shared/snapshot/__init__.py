"""Published snapshots and the data directory that holds them."""
