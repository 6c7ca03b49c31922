"""Global weights under one name each, as shared memory holds them."""

from collections.abc import Iterable

from dtfl_private.protocol.messages import State, below
from dtfl_private.training.state import GlobalWeights
from dtfl_private.training.worker import WorkerSetup


def named_weights(setup: WorkerSetup) -> State:
    """Return the weights that a run begins with under one name each."""
    heads = {tier: head.state_dict() for tier, head in setup.heads.items()}
    return named(GlobalWeights(model=setup.model.state_dict(), heads=heads))


def named(weights: GlobalWeights) -> State:
    """Return weights under one name each."""
    model = {f"model/{name}": tensor for name, tensor in weights.model.items()}
    heads = {f"head/{tier}/{name}": tensor for tier, head in weights.heads.items() for name, tensor in head.items()}
    return {**model, **heads}


def global_weights(named: State, tiers: Iterable[int]) -> GlobalWeights:
    """Return the tensors of `named_weights` as weights."""
    return GlobalWeights(
        model=below("model/", named),
        heads={tier: below(f"head/{tier}/", named) for tier in tiers},
    )
