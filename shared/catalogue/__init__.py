"""Items of a snapshot, their metadata and the filters over them."""
