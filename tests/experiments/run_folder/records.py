"""Records of rounds, for the tests of what holds them."""


def a_record(number: int, **changes):
    return {
        "round": number,
        "test_accuracy": 0.5,
        "test_loss": 1.5,
        "local_loss": 1.0,
        "server_loss": None,
        "lr": 1e-3,
        "virtual_time_s": 10.0 * number,
        "round_time_s": 10.0,
        "wall_time_s": 0.25,
        "participants": [0, 3],
        "dropped": [3],
        "tiers": {"0": 1, "3": 2},
        "client_time_s": {"0": 9.5, "3": 10.0},
        "client_compute_s": {"0": 9.0, "3": 8.0},
        "client_transfer_s": {"0": 0.5, "3": 2.0},
        "server_wait_s": 0.0,
        "bytes": {"down_weights": 1, "up_weights": 2, "up_smashed": 3, "up_labels": 4},
        "macs": {"client": 5, "server": 6},
        "privacy": [
            {"what": "weights", "epsilon": 1.5, "delta": 1e-5, "per": "record", "sentence": "so much", "client": 2}
        ],
        "guard": [{"client": 1, "text": "jumped", "refused": True}],
        "retired": [0],
        **changes,
    }
