"""Training methods, one way of federating each."""
