"""Audits: every attack at every tier, checks that they work, and limits that may not be crossed.

What comes of it as values, verdicts and the tiers that a leakage budget leaves, is in `dtfl_private.verdicts`.
"""
