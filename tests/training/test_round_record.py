import json

from dtfl_private.training.round_record import Record, round_record

# The keys that interface.md promises, and what this release adds.
PROMISED = {
    *("round", "test_accuracy", "test_loss", "virtual_time_s", "round_time_s", "wall_time_s", "tiers"),
    *("client_time_s", "bytes", "macs", "participants", "dropped", "privacy"),
}

ADDED = {
    *("local_loss", "server_loss", "lr", "client_compute_s", "client_transfer_s", "server_wait_s"),
    *("guard", "retired", "oracle_time_s"),
}

# Of runs in which the server names formats, or stops clients, with validation images, or with a budget of exposure.
SOMETIMES = {
    "test_perplexity",
    "clock",
    "wires",
    "stopped",
    "validation_accuracy",
    "validation_loss",
    "exposure",
    "rested",
}


def test_a_record_has_the_promised_keys_and_the_figures_of_the_round(prepare_tiny, play):
    prepared = prepare_tiny(clients=6, dropout=0.5, fraction=0.7, seed=4)
    _, outcome = play(prepared)[0]
    line = round_record(outcome, 1.23456)
    assert set(line) == PROMISED | ADDED
    assert set(Record.__annotations__) == PROMISED | ADDED | SOMETIMES
    plan = outcome.plan
    assert line["round"] == 1
    assert line["wall_time_s"] == 1.235
    assert line["participants"] == plan.clients_P.tolist()
    assert 0 < len(line["dropped"]) < len(line["participants"]) == 4
    ids = [str(client) for client in line["participants"]]
    for key, values in (
        ("tiers", plan.tiers_P),
        ("client_time_s", plan.client_time_s_P),
        ("client_compute_s", plan.compute_s_P),
        ("client_transfer_s", plan.transfer_s_P),
    ):
        assert line[key] == dict(zip(ids, values.tolist(), strict=True))
    assert [int(k) for k in ids if plan.dropped_P[ids.index(k)]] == line["dropped"]
    assert line["round_time_s"] == max(line["client_time_s"].values())
    assert set(line["bytes"]) == {
        *("down_weights", "up_weights", "up_smashed", "up_labels", "up_statistics", "down_statistics")
    }
    assert set(line["macs"]) == {"client", "server"}
    assert [(entry["what"], entry["epsilon"], entry["sentence"]) for entry in line["privacy"]] == [
        ("smashed", None, "smashed data and labels are sent in clear"),
        ("labels", None, "smashed data and labels are sent in clear"),
        ("weights", None, "weight updates are sent in clear"),
        (
            "statistics",
            None,
            "each client's pixel count, sum and sum of squares per channel are sent once, in clear",
        ),
    ]
    assert line["guard"] == line["retired"] == []
    assert json.loads(json.dumps(line, allow_nan=False)) == line
