"""Measures of leakage that need no attack: from what a client released, to figures."""
