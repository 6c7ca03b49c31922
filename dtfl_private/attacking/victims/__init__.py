"""The victims of attacks: clients in rounds of a finished run, recorded or replayed."""
