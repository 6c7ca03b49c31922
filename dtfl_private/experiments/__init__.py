"""Runs: their configuration, their folder, the training loop; plans, sweeps and comparisons."""
