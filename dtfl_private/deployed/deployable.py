"""Which runs can be deployed, by their configuration alone."""

from dtfl_private.errors import InputError
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.runtime.executor_choice import LOCAL

# Each gets a key and a folder; a run over a network with more needs another way to hand out keys.
MOST_CLIENTS = 1000

LARGEST_RATE = 100.0
"""Of learning rates that clients take: far above any that trains a network."""

METHODS = ("dtfl", "dtfl-full", "dtfl-shared", "local-loss")
"""The methods that can be deployed: those whose clients never wait for the server within a round."""

# What only a simulation has, with the value that leaves it out.
SIMULATED = {
    "noise": 0.0,
    "dropout": 0.0,
    "absent": 0.0,
    "leave": 0.0,
    "join": 0.0,
    "profile_error": 0.0,
    "traces": None,
    "drift": "jumps",
    "drift_share": 0.0,
    "deadline": None,
}


def require_deployable(config: TrainConfig) -> None:
    """Raise `InputError` where a configuration asks for what only a simulation has."""
    method = config.method.partition(":")[0]
    if method not in METHODS:
        raise InputError(f"method {method} cannot be deployed yet: choose one of {', '.join(METHODS)}")
    for key, without in SIMULATED.items():
        if getattr(config, key) != without:
            raise InputError(
                f"{key} = {getattr(config, key)} is simulated, and a deployed run has real clients: leave it out"
            )
    if config.clients > MOST_CLIENTS:  # before anything is made for each of them
        raise InputError(f"{config.clients:,} clients cannot be deployed: a run has at most {MOST_CLIENTS:,}")
    if config.lr > LARGEST_RATE:
        raise InputError(f"lr {config.lr:g} cannot be deployed: clients take {LARGEST_RATE:g} at most")
    if config.executor != LOCAL:
        raise InputError(f"executor {config.executor}: clients of a deployed run compute where they are: leave it out")
    if config.validation_held_by == "clients":
        raise InputError("validation images of clients cannot be used in a deployed run: leave validation out")
    if config.class_weights != "none":
        raise InputError(f"class_weights {config.class_weights} cannot be deployed yet: leave it out")
