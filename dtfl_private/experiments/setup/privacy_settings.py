"""What a run means for its defenses: calibrated noise, and what clients may spend of their privacy."""

from dtfl_private.data.dataset import Dataset, TokenDataset
from dtfl_private.errors import InputError
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.setup.client_devices import client_profiles
from dtfl_private.models.cutting.staged import StagedModel
from dtfl_private.models.places_apart import stages_apart
from dtfl_private.privacy.budget import end_of_run
from dtfl_private.privacy.ledger import Ledger
from dtfl_private.privacy.round_releases import PrivacySettings
from dtfl_private.protection.base import name_of
from dtfl_private.protection.conditional import rule_of
from dtfl_private.protection.cost import RunFacts, TokenPlaces
from dtfl_private.protection.defense_chain import DefenseChain, full_round
from dtfl_private.protection.defense_rule import Case
from dtfl_private.protocol.contracts import IntArray, tier_names
from dtfl_private.simulation.costs.table import TierTable
from dtfl_private.training.method import Method


def over_places(chain: DefenseChain, dataset: Dataset, model: StagedModel) -> DefenseChain:
    """Return the defenses with what they must know of the places of texts, if any of them asks for it."""
    if not isinstance(dataset, TokenDataset) or not any(member.per_token for member in chain):
        return chain
    length = dataset.input_shape[0]
    return chain.over_places(
        TokenPlaces(most=length, apart_tiers=min(len(model) - 1, stages_apart(model, dataset.tokens, length)))
    )


def calibrated(
    config: TrainConfig, chain: DefenseChain, classes: int, images_K: IntArray, modules: int | None = None
) -> DefenseChain:
    """Return the defenses with what depends on the run worked out.

    Args:
        config: of the run.
        chain: the defenses, placed among its clients.
        classes: number of classes.
        images_K: N_k of each client.
        modules: of the network: a client that holds all of them sends no smashed data. None where nobody says.

    Raises:
        InputError: a target cannot be met in this run.
    """
    return chain.calibrated(_run_facts(config, chain, classes, images_K, modules))


def require_records(config: TrainConfig, chain: DefenseChain, classes: int, images_K: IntArray) -> None:
    """Raise `InputError` if a client has more records than a guarantee of these defenses is one for."""
    chain.require_records(_run_facts(config, chain, classes, images_K, None))


def _run_facts(
    config: TrainConfig, chain: DefenseChain, classes: int, images_K: IntArray, modules: int | None
) -> RunFacts:
    return RunFacts(
        rounds=config.rounds,
        batch_size=config.batch_size,
        local_epochs=config.local_epochs,
        classes=classes,
        records_K=tuple(images_K.tolist()),
        augmented=bool(config.augment),
        tiers=tuple(sorted({case.tier for case in chain.cases if case.tier != modules})),
    )


def placed(config: TrainConfig, chain: DefenseChain, table: TierTable) -> DefenseChain:
    """Return the defenses among the clients that a run can have: in these tiers, with its profiles.

    Raises:
        InputError: a rule holds at none of them.
    """
    tiers, names = table.tiers_M.tolist(), [profile.name for profile in client_profiles(config)]
    cases = [Case(tier=tier, profile=name) for tier in tiers for name in names]
    for member in chain:
        if not any(rule_of(member).holds(case) for case in cases):
            raise InputError(
                f"{name_of(member)} acts nowhere in this run: its tiers are {tier_names(tiers)}; change the rule, or "
                "leave the defense out"
            )
    return chain.among(cases)


def states_guarantees(chain: DefenseChain) -> bool:
    """Whether any of these defenses states a guarantee of what is released."""
    chain = chain.unruled
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
        assumed=tuple(config.assume),
    )
    ledgers: dict[int, Ledger] = dict.fromkeys(range(len(images_K)), ()) if states_guarantees(defense) else {}
    if ledgers and (reason := end_of_run(ledgers, privacy)) is not None:
        raise InputError(f"not a single round is within the privacy budget ({reason}): raise epsilon or the noise")
    return privacy, ledgers
