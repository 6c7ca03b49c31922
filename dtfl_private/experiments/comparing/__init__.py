"""Finished runs compared: read, grouped, and held to equal terms."""
