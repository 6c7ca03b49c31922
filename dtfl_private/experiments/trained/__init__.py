"""The network that a run has trained, for use: predictions, exports, its card."""
