"""What the figures of the documentation come from: one command each, ``python -m benchmarks.NAME``."""
