"""Architectures as ordered, named stages; the cut into a client and a server half, and its inverse."""
