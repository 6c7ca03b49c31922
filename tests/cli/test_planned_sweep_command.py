"""A sweep without training, from start to end."""

import json

from planned_sweep_sample import TEXT


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
