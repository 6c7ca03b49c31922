"""What several attacks share: networks, searches, matching."""
