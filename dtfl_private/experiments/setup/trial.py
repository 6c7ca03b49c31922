"""A trial before anything is written: one small batch through all that a client's round does."""

import copy
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from dtfl_private.errors import DtflError, InputError, NonFiniteLossError
from dtfl_private.experiments.setup.prepare import Prepared
from dtfl_private.protection.base import name_of
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.protection.defense_rule import Case
from dtfl_private.protocol.contracts import IntArray
from dtfl_private.protocol.messages import below
from dtfl_private.training.method import Method
from dtfl_private.training.state import FederatedState
from dtfl_private.training.tasks import ClientTask
from dtfl_private.training.worker import Worker, WorkerSetup

# A client's last batch may be as small, so that whatever fails with it would fail in a run.
TRIAL_RECORDS = 4


def try_one_batch(method: Method, setup: WorkerSetup, initial: FederatedState, tiers: Sequence[int]) -> None:
    """Let one client train on one small batch in each of these tiers, and throw the result away.

    Some things show only when a network is trained: layers that work in place under hooks, a defense of the user's own
    that returns another shape.

    Args:
        method: of the run.
        setup: of its workers; nothing in it is changed.
        initial: the state that the run begins with.
        tiers: tiers to try.

    Raises:
        InputError: the batch cannot be trained on, with the reason.
    """
    client = int(np.argmax([len(part) for part in setup.parts]))
    parts: list[IntArray] = list(setup.parts)
    parts[client] = parts[client][:TRIAL_RECORDS]
    small = replace(setup, parts=parts, defense=_copy_of(setup.defense))
    worker = Worker(small)
    extras = below(f"client/{client}/", method.initial_extras(small))
    for case in _cases_in(setup.defense, tiers):
        tier = case.tier
        task = ClientTask(
            client=client,
            round=1,
            tier=tier,
            lr=initial.plateau.lr,
            batches=1,
            completes=True,
            extras=extras,
            profile=case.profile,
        )
        try:
            with torch.random.fork_rng(devices=[]):
                setup.work.train(worker, [task], initial.weights)
        except NonFiniteLossError:
            continue  # the run says more of it: in which round it came, and what may help
        except MemoryError:
            raise
        except DtflError as error:
            raise InputError(str(error)) from None
        except Exception as error:  # whatever the user's own network, defense or method raises
            raise InputError(_why(error, setup, tier)) from error


def _cases_in(defense: DefenseChain, tiers: Sequence[int]) -> list[Case]:
    """Return clients in these tiers, one for each different set of defenses that acts in one of them."""
    if not defense.ruled:
        return [Case(tier=tier) for tier in tiers]
    return [
        next(case for case in cases if case.tier == tier)
        for cases, _ in defense.variants()
        for tier in sorted({case.tier for case in cases} & {*tiers})
    ]


def _copy_of(defense: DefenseChain) -> DefenseChain:
    """Return a copy, so that what a defense of the user's own counts or keeps is as it was before the trial.

    One that cannot be copied, as it holds a file or a lock, is tried itself.
    """
    try:
        return copy.deepcopy(defense)
    except Exception:  # whatever an attribute of it raises
        return defense


def _why(error: Exception, setup: WorkerSetup, tier: int) -> str:
    reason = " ".join(str(error).split())
    defenses = ", ".join(name_of(defense) for defense in setup.defense)
    remedy = "mend that"
    if "inplace" in reason.replace("-", "").replace(" ", "").lower():
        remedy = "layers that work in place do not go with it: set inplace=False, as in nn.ReLU(inplace=False)"
    return (
        f"this network cannot be trained{f' with {defenses}' if defenses else ''}: a batch of {TRIAL_RECORDS} in tier "
        f"{tier}, tried before the run, ended with {type(error).__name__}: {reason}; {remedy}"
    )


def try_out(prepared: Prepared) -> None:
    """Train one small batch in the deepest tier, in that of the whole network, and where other defenses act."""
    tiers = prepared.settings.schedule.table.tiers_M.tolist()
    cut = [tier for tier in tiers if tier < prepared.settings.schedule.table.modules]
    variants = prepared.worker.defense.variants() if prepared.worker.defense.ruled else []
    tried = sorted({*cut[-1:], tiers[-1], *(max(case.tier for case in cases) for cases, _ in variants)})
    try_one_batch(prepared.method, prepared.worker, prepared.initial, tried)
