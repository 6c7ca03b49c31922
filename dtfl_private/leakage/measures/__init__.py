"""Measures of leakage that need no attack."""
