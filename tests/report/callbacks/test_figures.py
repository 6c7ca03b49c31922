from dtfl_private.report.callbacks.figures import figures_of


def test_a_rounds_figures_are_named_by_what_they_are_and_cover(a_round):
    assert figures_of(a_round(3)) == {
        "test_accuracy": 0.53,
        "test_loss": 1.25,
        "server_loss": 2.5,
        "lr": 0.01,
        "virtual_time_s": 195.0,
        "round_time_s": 65.0,
        "server_wait_s": 0.0,
        "wall_time_s": 2.0,
        "participants": 3,
        "dropped": 1,
        "retired": 0,
        "clients_in_tier/1": 1,
        "clients_in_tier/4": 2,
        "bytes/up_smashed": 400,
        "bytes/up_labels": 8,
        "macs/client": 10**6,
        "macs/server": 10**7,
        "epsilon/labels per label replaced": 2.0,
        "delta/labels per label replaced": 0.0,
    }
