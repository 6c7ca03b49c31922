"""How a trained run does in the end: by class, by client, and how well its confidence is calibrated."""
