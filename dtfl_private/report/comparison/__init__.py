"""Runs compared with each other: values, and the files that hold them."""
