"""The method and the defenses that a configuration names."""

from collections.abc import Sequence

from dtfl_private.errors import InputError
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.setup.client_devices import client_profiles
from dtfl_private.models.norms import Norm
from dtfl_private.plugins.own_objects import NOTHING_ALLOWED, Allowed
from dtfl_private.plugins.registry import create
from dtfl_private.printable import shown_value
from dtfl_private.privacy.compatibility import check_defenses, check_places
from dtfl_private.protection.base import Defense, name_of
from dtfl_private.protection.conditional import rule_of
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.protection.named_defense import make_defense
from dtfl_private.protection.wire_format import SCHEDULED, WireFormat
from dtfl_private.simulation.timing import Overlapping
from dtfl_private.training.method import Method


def make_method(text: str, *, allowed: Allowed = NOTHING_ALLOWED) -> Method:
    """Build the training method that ``text`` names; ``allowed`` is as for `create`.

    Raises:
        InputError: no such method, or what it names is none.
    """
    method = create("method", text, allowed=allowed)
    if not isinstance(method, Method):
        raise InputError(f"method '{text}' is a {type(method).__name__}, expected an object of a subclass of Method")
    return method


def make_chain(config: TrainConfig, defenses: Sequence[Defense] | None = None) -> DefenseChain:
    """Build the clients' defenses, those that the configuration names or the given ones.

    Raises:
        InputError: no such defense, or what is given is none; or a rule names a profile that no client has.
    """
    for defense in defenses or ():
        if not isinstance(defense, Defense):
            raise InputError(
                f"defense {shown_value(defense)} is a {type(defense).__name__}, expected an object of a subclass of "
                "dtfl_private.Defense"
            )
    if defenses is None:
        defenses = [make_defense(text, allowed=config.allowed) for text in config.defense]
    names = [profile.name for profile in client_profiles(config)]
    for defense in defenses:
        rule_of(defense).require_profile(names)
    # Where the format is scheduled, what is possible is what the coarsest allows.
    wire = SCHEDULED[0] if config.wire == "scheduled" else config.wire
    return DefenseChain(defenses, None if wire == "auto" else WireFormat(kind=wire))


def require_defensible(config: TrainConfig, method: Method, chain: DefenseChain, norm: Norm) -> None:
    """Refuse defenses that cannot act in this method, together, or in this run.

    Raises:
        InputError: naming the first one and the reason.
    """
    name = config.method.partition(":")[0]
    check_places(chain, method.places, name)
    if chain.wire is not None:
        _require_smashed(chain, method, name)
    if config.wire == "scheduled" and not method.tiered:
        raise InputError(f"--wire scheduled is refused: method {name} has no tiers to schedule; name a format")
    if config.send_every > 1:
        _require_streamed(config, chain, method, name)
    if config.deadline is not None:
        _require_stoppable(config, chain, method, name)
    if "secure-aggregation" in config.assume:
        _require_sums(config, method, name)
    check_defenses(chain, norm, config.precision, config.local_epochs)


def _require_streamed(config: TrainConfig, chain: DefenseChain, method: Method, name: str) -> None:
    """Refuse to leave batches out where clients do not send smashed data as they train, on their own."""
    option = f"--send-every {config.send_every}"
    if "smashed" not in method.sends:
        raise InputError(f"{option} leaves out smashed data, and method {name} sends none: leave it out")
    if "replies" not in method.hides:
        raise InputError(f"{option} is refused: in method {name} a client's step waits for the server's gradient")
    if method.timing.trains_first or chain.releases_apart:
        who = name if method.timing.trains_first else name_of(next(one for one in chain if one.facts.releases_apart))
        raise InputError(f"{option} is refused: with {who} clients send each record once, when they have trained")


def _require_stoppable(config: TrainConfig, chain: DefenseChain, method: Method, name: str) -> None:
    """Refuse a deadline where a client cannot stop at any of its batches, on its own."""
    option = f"--deadline {config.deadline:g}"
    if method.pooled or not isinstance(method.timing, Overlapping):
        raise InputError(f"{option} is refused: in method {name} clients do not train each on its own; leave it out")
    if chain.releases_apart:
        who = name_of(next(one for one in chain if one.facts.releases_apart))
        raise InputError(f"{option} is refused: with {who} clients send only when they have trained")
    if config.local_epochs > 1:
        raise InputError(
            f"{option} is refused with --local-epochs {config.local_epochs}: a client weighs by the images that it has "
            "trained on, each once"
        )


def _require_sums(config: TrainConfig, method: Method, name: str) -> None:
    """Refuse to assume that weight updates are summed where none are sent, or where a sum is of one alone."""
    option = "--assume secure-aggregation"
    if "weights" not in method.sends:
        raise InputError(f"{option} is about weight updates, and in method {name} no client sends any: leave it out")
    if round(config.fraction * config.clients) < 2:
        raise InputError(
            f"{option} hides nothing where one client takes part in a round, whose update is the sum: "
            f"raise clients ({config.clients}) or fraction ({config.fraction:g})"
        )


def _require_smashed(chain: DefenseChain, method: Method, name: str) -> None:
    """Refuse a wire format where no smashed data are sent, or where a defense packs them itself."""
    if "smashed" not in method.sends:
        raise InputError(f"--wire is the format of smashed data, and method {name} sends none: leave it out")
    packing = [defense for defense in chain if defense.facts.packs]
    if packing:
        raise InputError(f"{name_of(packing[0])} packs the smashed data itself: leave --wire out")
