"""File formats: untrusted bytes to arrays."""
