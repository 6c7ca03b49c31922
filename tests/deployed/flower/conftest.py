"""Flower is imported once, before warnings are errors: what it imports uses old names of others."""

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import flwr.app
    import flwr.clientapp
    import flwr.serverapp  # noqa: F401 # for tests that import them later
