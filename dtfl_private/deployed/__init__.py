"""The same training over a real network: server and clients are processes that do not trust each other."""
