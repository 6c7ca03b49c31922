"""What a defense is, what it may touch, and what it costs."""
