"""What each tier costs: parameters, operations, bytes."""
