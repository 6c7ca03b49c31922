"""The clients' resources, and how they change."""
