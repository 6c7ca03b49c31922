"""Rounds for callbacks to hear of."""

from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture
def a_round() -> Callable[..., Any]:
    """Return the record of a round: ``a_round(3, test_loss=0.5)``."""

    def make(number: int = 1, **changes: Any) -> dict[str, Any]:
        accuracies = {"test_accuracy": 0.5 + number / 100, "test_loss": 1.25, "local_loss": None, "server_loss": 2.5}
        times = {"virtual_time_s": 65.0 * number, "round_time_s": 65.0, "wall_time_s": 2.0, "server_wait_s": 0.0}
        clients = {"participants": [0, 2, 5], "dropped": [2], "tiers": {"0": 1, "2": 4, "5": 4}, "retired": []}
        counts = {"bytes": {"up_smashed": 400, "up_labels": 8}, "macs": {"client": 10**6, "server": 10**7}}
        covered = {"what": "labels", "epsilon": 2.0, "delta": 0.0, "per": "label replaced", "sentence": "2-DP"}
        clear = {"what": "smashed", "epsilon": None, "delta": None, "per": None, "sentence": "in clear"}
        privacy = [{**covered, "client": 0}, {**clear, "client": None}]
        record = {"round": number, "lr": 0.01, **accuracies, **times, **clients, **counts, "privacy": privacy}
        return {**record, **changes}

    return make
