"""Networks cut in two: stages, where cuts can be, and how they are found."""
