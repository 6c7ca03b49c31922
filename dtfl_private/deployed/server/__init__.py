"""The server of a deployed run: it plans rounds, trains its halves on what arrives, and averages."""
