"""The network of a run, and what each of its tiers costs."""

from dataclasses import dataclass

from torch import nn

from dtfl_private.data.dataset import Dataset, TokenDataset
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.setup.named_parts import NamedParts
from dtfl_private.models.build import as_staged, build_model
from dtfl_private.models.cutting.staged import StagedModel
from dtfl_private.models.padding import require_padding_kept
from dtfl_private.plugins.settings import explicit
from dtfl_private.plugins.specification import with_settings
from dtfl_private.privacy.compatibility import check_network, check_padding
from dtfl_private.simulation.costs.analysis import analyse
from dtfl_private.simulation.costs.table import TierTable


@dataclass(frozen=True, kw_only=True)
class CostedNetwork:
    """A network, its name, and the cost table of all its tiers."""

    name: str
    model: StagedModel
    table: TierTable


def explicit_model(config: TrainConfig, model: StagedModel) -> str:
    """Return the network that a configuration names with every setting written out, also those that it resolved."""
    text = explicit("model", config.model, allowed=config.allowed)
    if not model.resolved_settings:
        return text
    return explicit("model", with_settings("model", text, dict(model.resolved_settings)), allowed=config.allowed)


def build_network(config: TrainConfig, given: nn.Module | None, parts: NamedParts, dataset: Dataset) -> CostedNetwork:
    """Return the network that the configuration names, or the given one.

    Raises:
        InputError: there is no such network, it does not fit the data, cannot be cut, or a defense refuses it.
    """
    classes = len(dataset.classes)
    if given is not None:
        model = as_staged(given, dataset.input_shape)
    else:
        model = build_model(
            config.model,
            input_shape=dataset.input_shape,
            classes=classes,
            norm=parts.norm,
            seed=config.seed,
            allowed=config.allowed,
            tokens=dataset.tokens if isinstance(dataset, TokenDataset) else None,
        )
    check_network(parts.defense, model)
    if isinstance(dataset, TokenDataset):
        require_padding_kept(model, dataset.tokens, dataset.input_shape[0])
        check_padding(parts.defense, dataset.padding)
    table = analyse(model, dataset.input_shape, classes, parts.numerics, config.head)
    return CostedNetwork(name=parts.names.get("model", config.model), model=model, table=table)
