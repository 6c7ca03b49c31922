"""Defenses: one method a file, each an entry point of the group ``dtfl_private.defenses``."""
