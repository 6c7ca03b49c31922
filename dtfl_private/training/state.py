"""What one round of a training hands to the next."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from dtfl_private.privacy.ledger import Ledger
from dtfl_private.protocol.messages import State
from dtfl_private.simulation.schedule_state import ScheduleState
from dtfl_private.training.optimizers import PlateauState


@dataclass(frozen=True, kw_only=True)
class GlobalWeights:
    """What the server keeps between rounds: the global model and one auxiliary head per tier."""

    model: State
    heads: Mapping[int, State]


@dataclass(frozen=True, kw_only=True)
class FederatedState:
    """All that one round hands to the next; together with the settings it determines the rest of the run.

    ``ledgers`` holds what each client has spent of its privacy, ``memories`` what its defenses keep for its next round;
    clients that have neither are not in them. ``extras`` are the method's own tensors, such as a server optimiser's.
    """

    round: int
    weights: GlobalWeights
    schedule: ScheduleState
    plateau: PlateauState
    ledgers: Mapping[int, Ledger] = field(default_factory=dict)
    memories: Mapping[int, State] = field(default_factory=dict)
    extras: State = field(default_factory=dict)
