"""What the adversary has of its own: data, and trainings on them."""
