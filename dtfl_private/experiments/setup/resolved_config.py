"""The configuration of a run with everything written out that was left open, as it stands in the run folder."""

from collections.abc import Mapping
from typing import Any

from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.setup.client_devices import recorded_profiles
from dtfl_private.experiments.setup.cost_tables import cut_tiers
from dtfl_private.experiments.setup.loaded_inputs import RunInputs
from dtfl_private.experiments.setup.named_parts import NamedParts
from dtfl_private.experiments.setup.network import CostedNetwork, explicit_model
from dtfl_private.experiments.setup.run_costs import RunCosts
from dtfl_private.plugins.settings import explicit
from dtfl_private.runtime.executor_choice import without_address
from dtfl_private.simulation.clients.traces import with_hash
from dtfl_private.verdicts.leakage_budget import LeakageBudget
from dtfl_private.verdicts.leakage_source import LeakageSource


def resolved_config(
    parts: NamedParts, inputs: RunInputs, network: CostedNetwork, costs: RunCosts, workers: int
) -> TrainConfig:
    """Return the configuration of a run with nothing left open."""
    config, tiered = costs.config, parts.method.tiered
    return _explicit(config, parts.names).model_copy(
        update={
            **({} if "model" in parts.names else {"model": explicit_model(config, network.model)}),
            "data_dir": config.data_dir and config.data_dir.absolute(),
            "max_train_images": inputs.drawn,
            "normalization": str(inputs.normalization),
            "norm": parts.norm,
            "tiers": len(costs.in_use.rows) if tiered else len(costs.table.rows),
            "allowed_tiers": None if config.allowed_tiers is None else cut_tiers(costs.table, network.table),
            "leakage_budget": config.leakage_budget and str(LeakageBudget.parse(config.leakage_budget).absolute()),
            "leakage_from": config.leakage_from and str(LeakageSource.parse(config.leakage_from).absolute()),
            **({} if tiered else {"scheduler": f"static:m={costs.table.rows[0].tier}"}),
            "device": parts.numerics.device,
            "memory_format": parts.numerics.memory_format,
            "workers": workers,
            "executor": without_address(config.executor),
            "traces": config.traces and with_hash(config.traces),
            "profiles": recorded_profiles(config),
        }
    )


def _explicit(config: TrainConfig, names: Mapping[str, Any]) -> TrainConfig:
    """Return the configuration with every plug-in's settings written out."""
    written: dict[str, Any] = {
        field: explicit(field, getattr(config, field), allowed=config.allowed)
        for field in ("dataset", "partition", "method", "scheduler")
        if field not in names
    }
    if "defense" not in names:
        written["defense"] = [explicit("defense", text, allowed=config.allowed) for text in config.defense]
    return config.model_copy(update={**written, **names})
