"""The plan command from start to end."""

import json


def test_plan_shows_and_writes_every_round(dtfl, tmp_path):
    arguments = ["plan", "--input-shape", "1x8x8", "--clients", 20, "--rounds", 8, "--fraction", 0.5, "--dropout", 0.1]
    shown = dtfl(*arguments, "--json", "plan.json")
    assert (shown.status, shown.err) == (0, "")
    assert "20 clients, 8 rounds, resnet-8" in shown.out
    assert all(f"static:{tier}" in shown.out for tier in (1, 2, 3, 4))
    rounds = json.loads((tmp_path / "plan.json").read_text())
    (summed,) = [
        line for line in shown.out.splitlines() if line.startswith("tier:clients of this plan, summed over rounds")
    ]
    assert sum(int(part.partition(":")[2]) for part in summed.rpartition(": ")[2].split()) == 8 * 10
    assert [row["round"] for row in rounds] == list(range(1, 9))
    assert all(row["participants"] == sum(row["tier_counts"].values()) == 10 for row in rounds)
    assert json.loads(dtfl(*arguments, "--json", "-").out) == rounds
    alone = dtfl(*arguments, "--no-compare", "--rounds", 3)
    assert "static:" not in alone.out
    assert [line.split()[0] for line in alone.out.splitlines() if line[:2] in (" 1", " 2", " 3")] == ["1", "2", "3"]
