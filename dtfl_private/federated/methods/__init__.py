"""Training methods: DTFL and the baselines that it is compared with, one file per family."""
