"""From limits on leakage, accuracy and time to the configuration within them: a search, and an audit of what it finds.

limits, space -> trials on rungs (trained, attacked) -> frontier -> the recommended point -> a fresh audit of it
"""
