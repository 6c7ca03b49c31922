"""Tuning: each method's settings chosen on validation images by equally many trials, before the runs of a sweep."""
