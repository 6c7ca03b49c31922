"""The report of an audit as one page."""
