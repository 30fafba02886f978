"""Options, result rows and processes shared by the benchmarks."""
