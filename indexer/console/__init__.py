"""Output on the terminal: progress, tables, and native log lines kept off."""
