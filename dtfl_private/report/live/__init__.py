"""Displays of work that is under way."""
