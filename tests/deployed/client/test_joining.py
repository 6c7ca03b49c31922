"""What a client does around its sessions."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import torch

from dtfl_private.deployed.client import joining as module
from dtfl_private.deployed.client.joining import Joining, join
from dtfl_private.deployed.client_store.store import ClientStore
from dtfl_private.deployed.project.credentials import ClientCredentials
from dtfl_private.deployed.sessions.session import Session
from dtfl_private.deployed.wire.kinds import Welcome, WireMessage
from dtfl_private.errors import InputError


def joining(store: Path, **changes: Any) -> Joining:
    """Return what the operator of a client decides whose server is not there."""
    own = ClientCredentials(
        authority_pem=b"", certificate_pem=b"", key_pem=b"", expires=datetime.max.replace(tzinfo=UTC), client=1
    )
    return Joining(
        address="127.0.0.1:1", credentials=own, images=lambda *_: pytest.fail("not asked for"), store=store, **changes
    )


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


class OneAfterTheOther(Session):
    """A session whose server greets with one configuration, and then with others."""

    def __init__(self, configs: list[str]) -> None:
        super().__init__("server", 2**20)
        self._configs = configs

    def send(self, message: WireMessage, timeout_s: float | None = None) -> None:
        """Take it."""

    def receive(self, timeout_s: float | None = None) -> WireMessage:
        """Return the next greeting."""
        config = self._configs.pop(0)
        return Welcome(
            session=1,
            run="run",
            client=1,
            config=config,
            config_sha256=hashlib.sha256(config.encode()).hexdigest(),
            largest=2**20,
            classes=("cat", "dog"),
            input_shape=(1, 8, 8),
        )


def test_who_agrees_to_another_configuration_agrees_to_one_and_not_to_all_that_follow(tmp_path):
    with ClientStore(tmp_path) as store:
        store.agree("rounds = 2\n", ("cat", "dog"))
        part = module.TakingPart(joining(tmp_path, accept_config=True), 1, "here", store, lambda _: None)
        session = OneAfterTheOther([f"rounds = {number}\n" for number in (3, 3, 4)])
        part._welcomed(session)
        part._welcomed(session)  # it comes again
        with pytest.raises(InputError, match="rounds: 3 -> 4"):
            part._welcomed(session)


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ('method = "fedavg"\n', "method fedavg cannot be deployed yet"),
        ("rounds = \n", "the server's configuration is no TOML"),
        ("rounds = -1\n", "rounds"),
    ],
)
def test_what_cannot_be_taken_part_in_is_not_agreed_to_in_place_of_what_can(tmp_path, config, why):
    with ClientStore(tmp_path) as store:
        part = module.TakingPart(joining(tmp_path, accept_config=True), 1, "here", store, lambda _: None)
        with pytest.raises(InputError, match=why):
            part._welcomed(OneAfterTheOther([config]))
        assert store.config is None
