"""What an attack is, and what it gets to see."""
