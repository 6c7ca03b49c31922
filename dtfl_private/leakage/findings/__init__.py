"""What an audit finds, as values: findings, verdicts, and the tiers that a leakage budget leaves."""
