"""The configuration of a run: its fields, and how they are written."""
