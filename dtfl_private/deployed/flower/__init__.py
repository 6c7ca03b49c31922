"""The same sessions inside a Flower app: Flower enrols clients, starts them and carries messages.

Nothing here imports Flower before it is run by it: the grid and the messages are handed in.
"""
