"""Defenses: one method a file, each an entry point of the group ``dtfl_private.defenses``.

What several of them use lies in ``shared``.

The folder is installed as the package ``dtfl_private.defenses``, so that a user's own module ``defenses`` never
stands in its way.
"""

if __name__ == "defenses":  # found as a folder of a checkout: its classes would not be those that the toolkit knows
    raise ImportError("the defenses of dtfl-private are imported as dtfl_private.defenses")
