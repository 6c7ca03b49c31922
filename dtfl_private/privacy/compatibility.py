"""Which defenses cannot act together, or not in this run: each refusal with its reason and its remedy.

All but the last rule follow from what the defenses state of themselves in their facts; none names a defense.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

from torch import nn

from dtfl_private.errors import InputError, comparable
from dtfl_private.models.norms import Norm
from dtfl_private.numerics import Precision
from dtfl_private.protection.base import Defense, Place, name_of
from dtfl_private.protection.conditional import Conditional, bare, rule_of
from dtfl_private.protection.defense_chain import DefenseChain

# What happens to a record before its loss is known, and before its activations are sent.
BEFORE_THE_LOSS: frozenset[Place] = frozenset({"input", "activations", "loss"})
BEFORE_THE_RELEASE: frozenset[Place] = frozenset({"input", "activations"})


# The hooks of a defense, by the place where each acts.
HOOKS: Mapping[str, Place] = {
    "inspect": "download",
    "inspect_reply": "replies",
    "training_pass": "training",
    "protect_labels": "labels",
    "classification_loss": "labels",
    "protect_inputs": "input",
    "encode": "activations",
    "local_loss": "loss",
    "protect_batch": "smashed",
    "protect_update": "weights",
}


def check_places(chain: DefenseChain | Sequence[Defense], places: Collection[Place], method: str) -> None:
    """Refuse defenses that act where a training method has nothing for them, or cannot let them act rightly.

    Args:
        chain: the defenses.
        places: where the method lets defenses act.
        method: its name.

    Raises:
        InputError: naming the first such defense and the place.
    """
    for defense in map(bare, chain):
        own = {place for hook, place in HOOKS.items() if getattr(type(defense), hook) is not getattr(Defense, hook)}
        for place in sorted((own | set(defense.facts.acts_on)) - set(places)):
            allowed = f"only on {', '.join(sorted(places))}" if places else "nowhere"
            other = "splitfed-v1" if place == "replies" else "dtfl"  # nothing is returned there
            raise InputError(
                f"{name_of(defense)} acts on {place}, and in method {method} defenses can act {allowed}: "
                f"leave it out, or use --method {other}"
            )


def needs_group_norm(defenses: Iterable[Defense]) -> bool:
    """Return whether a defense is on that batch norm would break."""
    return any(defense.facts.group_norm for defense in defenses)


def check_defenses(
    chain: DefenseChain | Sequence[Defense], norm: Norm | None, precision: Precision, local_epochs: int
) -> None:
    """Refuse defenses that cannot act together or in this run; those whose rules never hold at one client may differ.

    Args:
        chain: the defenses in the order in which they act.
        norm: of the network; None if it is not known, see `check_network`.
        precision: of the run.
        local_epochs: passes over the records in a round.

    Raises:
        InputError: the first reason found, with the remedy.
    """
    whole = DefenseChain(chain)
    _check_overlaps(tuple(chain))
    apart = [member for member in whole.unruled if member.facts.releases_apart]
    for _, variant in whole.variants():
        _check_together(tuple(variant), norm, precision, local_epochs)
        for defense in variant:
            _check_inputs(defense, apart)


def _check_together(defenses: Sequence[Defense], norm: Norm | None, precision: Precision, local_epochs: int) -> None:
    """Refuse defenses that cannot act at one client."""
    for position, defense in enumerate(defenses):
        _check_exclusions(defense, defenses)
        _check_alone_of_its_kind(defense, defenses[:position])
        _check_training_apart(defense, defenses)
        _check_release(defense, defenses, position)
        _check_packing(defense, defenses[:position])
        _check_run(defense, norm, precision, local_epochs)


def check_network(chain: DefenseChain | Sequence[Defense], network: nn.Module) -> None:
    """Refuse a network whose layers break a defense: batch norm, or layers that hide single records' gradients.

    Raises:
        InputError: naming the layer.
    """
    for defense in map(bare, chain):
        if _trains(defense):
            _check_single_records(defense, network)
        if defense.facts.group_norm:
            for name, module in network.named_modules():
                # The common base of batch norm, synchronised batch norm, and their lazy forms.
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    raise InputError(
                        f"{name_of(defense)} cannot protect a network with batch norm ({name} is a "
                        f"{type(module).__name__}): one record changes what the others of its batch become; this "
                        "network takes no --norm: build it with torch.nn.GroupNorm in its place"
                    )


def check_padding(chain: DefenseChain | Sequence[Defense], padding: int | None) -> None:
    """Refuse defenses that cannot act on sequences that are filled up.

    Raises:
        InputError: naming the first, with its reason.
    """
    for defense in map(bare, chain):
        if padding is not None and defense.facts.refuses_padding:
            raise InputError(
                f"{name_of(defense)} cannot act on texts that are filled up to one length: "
                f"{defense.facts.refuses_padding}; leave it out"
            )


def exclusions(defense: Defense, others: Iterable[Defense]) -> list[str]:
    """Return in words what a defense cannot be combined with: other defenses, in which order, and settings of a run."""
    found = []
    for other in others:
        before, after = _together(other, defense), _together(defense, other)
        if type(other) is type(defense):
            found += [] if before else ["itself"]
        elif not before and not after:
            found.append(name_of(other))
        elif not before or not after:
            found.append(f"{name_of(other)} {'before' if not before else 'after'} it")
    for words, norm, precision, epochs in RUNS:
        if not _allowed([defense], norm, precision, epochs):
            found.append(words)
    return found


RUNS: Sequence[tuple[str, Norm, Precision, int]] = (
    ("batch norm", "batch", "fp32", 1),
    ("bf16", "group", "bf16", 1),
    ("several local epochs", "group", "fp32", 2),
)


def _together(first: Defense, second: Defense) -> bool:
    return _allowed([first, second], "group", "fp32", 1)


def _allowed(defenses: Sequence[Defense], norm: Norm, precision: Precision, local_epochs: int) -> bool:
    try:
        check_defenses(defenses, norm, precision, local_epochs)
    except InputError:
        return False
    return True


def _check_overlaps(defenses: Sequence[Defense]) -> None:
    """Refuse a defense given twice, with a rule, of which two would act at one client: more likely a mistake."""
    for position, defense in enumerate(defenses):
        for other in defenses[:position]:
            ruled = isinstance(defense, Conditional) or isinstance(other, Conditional)
            if ruled and type(bare(other)) is type(bare(defense)) and rule_of(other).overlaps(rule_of(defense)):
                raise InputError(
                    f"{name_of(other)} and {name_of(defense)} would both act at some clients: give rules of which no "
                    "two hold at once, as @tier<=2 and @tier>=3"
                )


def _check_single_records(defense: Defense, network: nn.Module) -> None:
    """Gradients of single records cannot be had of a module with parameters of its own around a dropout."""
    for name, module in network.named_modules():
        own = any(True for _ in module.parameters(recurse=False))
        dropouts = [inner for inner in module.modules() if isinstance(inner, nn.Dropout) and inner.p > 0]
        if own and dropouts:
            raise InputError(
                f"{name_of(defense)} cannot tell the records apart in this network: {name or 'the network'} is a "
                f"{type(module).__name__} with parameters of its own next to dropout; switch dropout off, as in "
                "vit:dropout=0, or put these parameters into a module of their own"
            )


def _check_exclusions(defense: Defense, defenses: Sequence[Defense]) -> None:
    for excluded, reason in defense.facts.excludes.items():
        for other in defenses:
            if other is not defense and comparable(name_of(other)) == comparable(excluded):
                raise InputError(
                    f"{name_of(defense)} cannot be combined with {name_of(other)}: {reason}; leave one of them out"
                )


def _check_alone_of_its_kind(defense: Defense, earlier: Sequence[Defense]) -> None:
    """Two of a kind with a guarantee would be charged as one, or the second would do nothing."""
    for other in earlier:
        twice = type(other) is type(defense) and defense.facts.guarantee != "none"
        if twice:
            raise InputError(f"{name_of(defense)} is given twice: give it once, with the settings that are meant")
        if _trains(defense) and _trains(other):
            raise InputError(
                f"{name_of(defense)} and {name_of(other)} both train the client half themselves: leave one of them out"
            )


def _check_training_apart(defense: Defense, defenses: Sequence[Defense]) -> None:
    """Clipping one record's gradient bounds its influence only if it is in no other record's gradient."""
    if not _trains(defense):
        return
    for other in defenses:
        shared = other.facts.couples_records & BEFORE_THE_LOSS
        if shared:
            raise InputError(
                f"{name_of(defense)} cannot be combined with {name_of(other)}: there one record changes the gradients "
                f"of its whole batch (by the {', '.join(sorted(shared))}), so that clipping each bounds nothing; leave "
                "one of them out, or protect the smashed data by a defense that takes each record by itself"
            )


def _check_release(defense: Defense, defenses: Sequence[Defense], position: int) -> None:
    """A bound per record on what is sent needs records that have not met before; what comes after is free."""
    if "smashed" not in defense.facts.acts_on or defense.facts.guarantee == "none":
        return
    for place, other in enumerate(defenses):
        coupled = other.facts.couples_records
        if other is not defense and coupled & BEFORE_THE_RELEASE:
            raise InputError(
                f"{name_of(defense)} cannot be combined with {name_of(other)}: it mixes the records of a batch before "
                "their activations are bounded one by one; leave one of them out"
            )
        if place < position and "smashed" in coupled:
            raise InputError(
                f"{name_of(other)} mixes the records of a batch before {name_of(defense)} bounds them one by one: "
                f"give {name_of(other)} after {name_of(defense)}"
            )


def _check_packing(defense: Defense, earlier: Sequence[Defense]) -> None:
    """What was packed into fewer bytes would not fit in them any more."""
    for other in earlier:
        if other.facts.packs and "smashed" in defense.facts.acts_on:
            raise InputError(
                f"{name_of(other)} packs the smashed data, which {name_of(defense)} would change again: "
                f"give {name_of(other)} after {name_of(defense)}, or only one of them"
            )


def _check_inputs(defense: Defense, apart: Sequence[Defense]) -> None:
    """How often an input gets noise is counted by epochs; who trains first and sends later asks for it more often.

    With one defense of the run that wants it so, wherever it acts, all clients train first.
    """
    if "input" not in defense.facts.acts_on or defense.facts.guarantee == "none":
        return
    for other in apart:
        raise InputError(
            f"{name_of(defense)} cannot be combined with {name_of(other)}, with which clients train on each input and "
            "then compute its activations once more: the guarantee counts one release in each epoch; leave one of them "
            "out"
        )


def _check_run(defense: Defense, norm: Norm | None, precision: Precision, local_epochs: int) -> None:
    name = name_of(defense)
    if _trains(defense) and not defense.facts.releases_apart:
        raise InputError(f"{name} trains the client half itself, and must say so: set releases_apart=True in its facts")
    if defense.facts.group_norm and norm == "batch":
        raise InputError(
            f"{name} cannot be combined with --norm batch: batch norm lets one record change what the others of its "
            "batch become, and releases its statistics unprotected; use --norm group or --norm auto"
        )
    if defense.facts.releases_apart and local_epochs > 1:
        raise InputError(
            f"{name} sends each record once per round, so that the server would train on one pass of {local_epochs}: "
            f"use --local-epochs 1 and more rounds instead of {local_epochs}"
        )
    if _trains(defense) and precision == "bf16":
        raise InputError(
            f"{name} cannot be combined with --precision bf16: gradients rounded to 8 bits are not clipped exactly; "
            "use --precision fp32"
        )


def _trains(defense: Defense) -> bool:
    return "training" in defense.facts.acts_on or type(defense).training_pass is not Defense.training_pass
