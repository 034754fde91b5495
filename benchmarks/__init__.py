"""Ours beside the peers and the limit of the machine, in one run: ``python -m benchmarks``."""
