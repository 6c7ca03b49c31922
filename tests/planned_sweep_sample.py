"""A small preset that is planned and not trained, as TOML."""

TEXT = """
title = "a factor"
seeds = [0, 1]

[plan]
input_shape = "1x8x8"
images_per_client = 40
x = "ema"
reference = 0.5
panels = ["drift", "noise"]

[config]
clients = 4
rounds = 4
cpu_gmacs = 0.05
drift_share = 0.5

[[grid]]
ema = [0.2, 0.5]
drift = ["jumps", "ramps"]
noise = [0.0, 0.4]

[sizes.small]
drift_every = 2
"""
