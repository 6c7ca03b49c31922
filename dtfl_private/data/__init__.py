"""Data sets, which know nothing of clients, and partitions, which know nothing of images."""
