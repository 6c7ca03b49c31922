"""What guesses come to: scores, results, pictures."""
