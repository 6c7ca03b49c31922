"""What `list` shows of plug-ins and measures: recorded of the built-in ones, from the code of all others."""
