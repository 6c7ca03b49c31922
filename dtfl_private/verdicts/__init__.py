"""What an audit finds and which word each tier gets; the tiers that a leakage budget leaves."""
