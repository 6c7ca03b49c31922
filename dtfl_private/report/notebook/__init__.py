"""What Python and notebooks show of runs, plans, audits, attacks and comparisons: a few lines, and a small table."""
