"""How long a round takes: clients, links, the server's queue, and who gets which tier. Nothing is trained here."""
