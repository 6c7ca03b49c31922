"""From a configuration to all that a run needs; everything is checked, and nothing is written."""
