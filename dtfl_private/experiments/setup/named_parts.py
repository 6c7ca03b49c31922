"""The parts of a run that do not depend on its data."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dtfl_private.errors import InputError
from dtfl_private.experiments.config.norm import resolved_norm
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.run_folder.recording_writer import check_recording
from dtfl_private.experiments.setup.exposure_by_audit import AuditedLeakage, open_leakage
from dtfl_private.experiments.setup.named_plugins import make_chain, make_method, require_defensible
from dtfl_private.experiments.setup.run_objects import RunObjects
from dtfl_private.experiments.setup.tiers_allowed_by_audit import AuditedTiers, open_budget
from dtfl_private.models.norms import Norm
from dtfl_private.numerics import Numerics
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.protection.wire_format import named_format
from dtfl_private.runtime.device import choose_numerics, device_on
from dtfl_private.training.method import Method


@dataclass(frozen=True, kw_only=True)
class NamedParts:
    """What a run consists of, as far as its data do not matter.

    Attributes:
        names: how the configuration names what was passed as objects, by its field.
        method: the training method.
        defense: the clients' defenses; noise that depends on the data is not calibrated yet.
        norm: the kind of normalisation of the network.
        numerics: device and number formats.
        audited: what limits the tiers by a leakage budget; None without one.
        leaking: what says how much tiers leak, where an exposure budget counts that; None elsewhere.
    """

    names: Mapping[str, Any]
    method: Method
    defense: DefenseChain
    norm: Norm
    numerics: Numerics
    audited: AuditedTiers | None
    leaking: AuditedLeakage | None


def named_parts(config: TrainConfig, objects: RunObjects) -> NamedParts:
    """Return what a configuration names, and what was passed instead.

    Raises:
        InputError: there is no such part, it is not allowed, or the parts do not fit together.
    """
    objects.require_kinds()
    names = objects.names()
    config.require_allowed(replaced=names)
    defense = make_chain(config, objects.defenses)
    if config.stop_at_target and config.target_accuracy is None:
        raise InputError("stop_at_target needs a target: give target_accuracy too")
    norm = resolved_norm(config, defense)
    method = make_method(config.method, allowed=config.allowed)
    check_recording(config, method)
    require_defensible(config, method, defense, norm)
    device = device_on(config.executor, config.device)
    numerics = choose_numerics(device, config.precision, config.memory_format, norm)
    own = {field: names.get(field, getattr(config, field)) for field in ("dataset", "model", "defense")}
    wire = named_format(config.wire, numerics.precision)
    own |= {"norm": norm, "wire": wire}
    return NamedParts(
        names=names,
        method=method,
        defense=defense,
        norm=norm,
        numerics=numerics,
        audited=open_budget(config, method, own),
        leaking=open_leakage(config, method, own),
    )
