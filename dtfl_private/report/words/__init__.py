"""How figures and findings are said to people."""
