"""What several defenses share: noise, clipping, pieces of activations."""
