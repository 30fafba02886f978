"""The base network: chosen, loaded, exported."""
