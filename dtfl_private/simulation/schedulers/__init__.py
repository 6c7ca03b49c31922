"""Schedulers: from estimated times to a tier per participant."""
