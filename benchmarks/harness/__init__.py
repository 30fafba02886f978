"""What the benchmarks have in common: options, rows, processes."""
