"""How much leaked, in numbers: scores of guesses, their intervals, trivial guesses to compare with, results."""
