"""Attacks: one method a file, each an entry point of the group ``dtfl_private.attacks``. None is in this release."""
