"""Audits: every attack at every tier, checks that they work, and limits that may not be crossed."""
