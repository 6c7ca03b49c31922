"""From names to objects: what is installed, and what a text may name."""
