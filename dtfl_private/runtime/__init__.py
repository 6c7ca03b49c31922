"""Where a run's work happens and how it survives: devices, executors, checkpoints."""
