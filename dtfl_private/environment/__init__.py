"""Uneven devices simulated: what resources a client has in a round, and how many seconds its work then takes."""
