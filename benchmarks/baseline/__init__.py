"""The baseline notebook, which benchmarks compare with."""
