"""Calibration: the engine figures of this host by measurement, and how well they predict training steps."""
