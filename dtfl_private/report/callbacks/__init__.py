"""Callbacks to use as they are: displays, loggers, early stopping."""
