"""Whom attacks are mounted on: the rounds of a finished run, recorded or played once more."""
