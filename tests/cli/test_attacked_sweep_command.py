"""A sweep whose runs are attacked, from start to end."""

import json

import numpy as np
import pytest


@pytest.mark.usefixtures("no_comparison_pictures")
def test_the_command_trains_attacks_and_shows(dtfl, tmp_path):
    (tmp_path / "my.toml").write_text(
        'title = "clients"\nseeds = [0]\n[config]\nclients = 5\n[[grid]]\npartition = "dirichlet:alpha=0.5,floor=6"\n'
        '[[attack]]\nattacks = ["membership-matching"]\ntiers = [1]\neach = 8\naux_images = 30\n'
        '[sizes.small]\ndataset = "digits:size=8"\nmax_train_images = 90\nrounds = 1\nbatch_size = 8\ndevice = "cpu"\n'
    )
    out, tables = tmp_path / "out", tmp_path / "t.md"
    shown = dtfl("sweep", tmp_path / "my.toml", "--out", out, "--parallel", 1, "--markdown", tables)
    assert shown.status == 0, shown.err
    assert "rank correlation of a client's leakage" in shown.out
    assert "variety of labels (entropy)" in tables.read_text()
    document = json.loads((out / "clients.json").read_text())
    assert {row["client"] for row in document["clients"]} == set(range(5))
    assert np.isfinite([one["found"]["value"] for one in document["correlations"]]).all()
    assert "that membership-matching reaches with auxiliary data 'same'" in shown.out
    assert "| dtfl | 1 |" in tables.read_text()
    for name in ("client-correlations", "client-leakage", "side-by-side"):
        assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    refused = dtfl("sweep", tmp_path / "my.toml", "--out", out, "--executor", "ray")
    assert (refused.status, "attacks of a sweep are mounted on this machine" in refused.err) == (2, True)
