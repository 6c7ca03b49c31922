"""Attacks: one method a file, each an entry point of the group ``dtfl_private.attacks``.

What several of them use lies in ``shared``.

The folder is installed as the package ``dtfl_private.attacks``, so that a user's own module ``attacks`` never
stands in its way.
"""

if __name__ == "attacks":  # found as a folder of a checkout: its classes would not be those that the toolkit knows
    raise ImportError("the attacks of dtfl-private are imported as dtfl_private.attacks")
