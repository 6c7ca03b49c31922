"""What an attack is, what it may see, and how attacks are run and scored."""
