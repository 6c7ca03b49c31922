"""What a run means for its defenses: calibrated noise, and what clients may spend of their privacy."""

from dtfl_private.errors import InputError
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.privacy.budget import end_of_run
from dtfl_private.privacy.ledger import Ledger
from dtfl_private.privacy.round_releases import PrivacySettings
from dtfl_private.protection.cost import RunFacts
from dtfl_private.protection.defense_chain import DefenseChain, full_round
from dtfl_private.protocol.contracts import IntArray
from dtfl_private.training.method import Method


def calibrated(config: TrainConfig, chain: DefenseChain, classes: int, images_K: IntArray) -> DefenseChain:
    """Return the defenses with what depends on the run worked out.

    Raises:
        InputError: a target cannot be met in this run.
    """
    return chain.calibrated(
        RunFacts(
            rounds=config.rounds,
            batch_size=config.batch_size,
            local_epochs=config.local_epochs,
            classes=classes,
            records_K=tuple(images_K.tolist()),
        )
    )


def states_guarantees(chain: DefenseChain) -> bool:
    """Whether any of these defenses states a guarantee of what is released."""
    return bool(chain.guarantees(full_round(chain, records=1, batch_size=1, local_epochs=1)))


def privacy_settings(
    config: TrainConfig, method: Method, defense: DefenseChain, images_K: IntArray
) -> tuple[PrivacySettings, dict[int, Ledger]]:
    """Return what clients release, what happens when their budgets are spent, and what they have spent so far.

    Every client that has something to spend has a ledger from the start.

    Raises:
        InputError: not a single round is within a budget.
    """
    privacy = PrivacySettings(
        defense=defense,
        images_K=images_K,
        batch_size=config.batch_size,
        local_epochs=config.local_epochs,
        on_budget=config.on_budget,
        sends=method.sends,
        full_tier=method.full_tier,
    )
    ledgers: dict[int, Ledger] = dict.fromkeys(range(len(images_K)), ()) if states_guarantees(defense) else {}
    if ledgers and (reason := end_of_run(ledgers, privacy)) is not None:
        raise InputError(f"not a single round is within the privacy budget ({reason}): raise epsilon or the noise")
    return privacy, ledgers
