"""From guesses and measures to results: numbers with intervals, next to trivial guesses."""
