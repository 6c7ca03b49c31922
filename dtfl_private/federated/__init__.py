"""The round of DTFL: the schedule, the client half, the server half, the average. Start reading at `round`."""
