"""The routes, and what they read and answer."""
