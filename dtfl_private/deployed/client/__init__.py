"""A client of a deployed run: it trains its half on its own images, and what leaves it passes its defenses."""
