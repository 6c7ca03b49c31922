"""Guarantee values to (epsilon, delta), one ledger per client: see `dtfl_private.privacy.accounting`."""
