"""What a client keeps on its own disk: its privacy ledger, its secret, what its defenses remember."""
