"""Benchmarks: `make bench`. Not tests: nothing here is collected by pytest, and nothing here has a threshold."""
