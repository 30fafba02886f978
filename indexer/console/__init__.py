"""What a build shows while it runs."""
