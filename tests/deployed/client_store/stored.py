"""What the tests of the client's store share: a client with terms, and what a server asks of it."""

from dataclasses import replace
from typing import Any

import numpy as np

from dtfl_private.deployed.client_store.terms import AskedRound, Terms
from dtfl_private.privacy.round_releases import PrivacySettings
from dtfl_private.protection.base import Defense
from dtfl_private.protection.cost import RunFacts
from dtfl_private.protection.defense_chain import DefenseChain

CONFIG = 'model = "resnet-8"\nrounds = 3\n\n[[defense]]\nname = "dp-weights"\n'
RECORDS, BATCH, ROUNDS = 100, 10, 3


def terms(*defenses: Defense, rounds: int = ROUNDS, **changes: Any) -> Terms:
    """Return the terms of a client of 100 images in batches of 10, its defenses calibrated for the rounds."""
    facts = RunFacts(rounds=rounds, batch_size=BATCH, local_epochs=1, classes=10, records_K=(RECORDS,))
    privacy = PrivacySettings(
        defense=DefenseChain(defenses).calibrated(facts),
        images_K=np.array([RECORDS]),
        batch_size=BATCH,
        local_epochs=1,
    )
    agreed = {"client": 0, "records": RECORDS, "data": "0" * 64, "rounds": rounds, "tiers": frozenset({1, 2})}
    return Terms(**{**agreed, "privacy": privacy, **changes})


def asked(number: int = 1, **changes: Any) -> AskedRound:
    """Return what an honest server asks for."""
    return replace(AskedRound(run="run-a", round=number, tier=1, batches=10, batch_size=BATCH), **changes)
