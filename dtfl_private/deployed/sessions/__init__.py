"""One bidirectional stream of frames per client: a session."""
