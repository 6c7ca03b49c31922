"""What a client does around its sessions."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import torch

from dtfl_private.deployed.client import joining as module
from dtfl_private.deployed.client.joining import Joining, join
from dtfl_private.deployed.project.credentials import ClientCredentials
from dtfl_private.errors import InputError


def joining(store: Path, **changes: Any) -> Joining:
    """Return what the operator of a client decides whose server is not there."""
    own = ClientCredentials(
        authority_pem=b"", certificate_pem=b"", key_pem=b"", expires=datetime.max.replace(tzinfo=UTC), client=1
    )
    return Joining(address="127.0.0.1:1", credentials=own, images=lambda *_: pytest.fail(), store=store, **changes)


def smallest() -> float:
    return float(torch.tensor([1e-39]) * 1.0)


@pytest.mark.skipif(not torch.set_flush_denormal(False), reason="this processor has no mode without denormal numbers")
@pytest.mark.parametrize("chance", ["secret", "seeded"])
def test_how_long_a_batch_takes_does_not_depend_on_numbers_that_processors_are_slow_with(tmp_path, monkeypatch, chance):
    found = []

    def connect(*_: Any) -> Any:
        found.append(smallest())
        raise InputError("enough")

    monkeypatch.setattr(module, "connect", connect)
    with pytest.raises(InputError, match="enough"):
        join(joining(tmp_path / "store", chance=chance), print)
    assert (found[0] == 0) == (chance == "secret")
    assert smallest() > 0
