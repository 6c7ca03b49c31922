"""A sweep without training, from start to end."""

import json

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


def test_the_command_shows_and_writes_it(dtfl, tmp_path):
    (tmp_path / "my.toml").write_text(TEXT)
    shown = dtfl(
        "sweep", tmp_path / "my.toml", "--out", tmp_path / "out", "--parallel", 1, "--markdown", tmp_path / "t.md"
    )
    assert shown.status == 0
    assert "saves against 0.5" in shown.out
    assert "oracle's tier" in (tmp_path / "t.md").read_text()
    document = json.loads((tmp_path / "out" / "plans.json").read_text())
    assert len(document["points"]) == 16
    assert (tmp_path / "out" / "tier-accuracy.png").read_bytes().startswith(b"\x89PNG")
    assert dtfl("sweep", tmp_path / "my.toml", "--out", tmp_path / "out", "--latex", "t.tex").status == 2
