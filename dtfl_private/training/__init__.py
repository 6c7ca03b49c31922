"""Rounds of training: the client's side, the server's side, and what becomes of both."""
