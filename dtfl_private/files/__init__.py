"""Reading and writing files: what comes from others is never trusted, what is written is whole or absent."""
