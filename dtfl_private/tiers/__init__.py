"""What each tier costs, how long it would take each client, and which tier each client gets."""
