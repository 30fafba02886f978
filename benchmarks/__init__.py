"""Benchmarks: `python -m benchmarks.NAME` measures one thing against yardsticks of its own."""
