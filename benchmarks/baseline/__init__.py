"""The notebook that the product began as."""
