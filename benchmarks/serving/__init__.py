"""Speed and robustness of the service."""
