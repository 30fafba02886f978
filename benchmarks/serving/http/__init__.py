"""HTTP servers compared."""
