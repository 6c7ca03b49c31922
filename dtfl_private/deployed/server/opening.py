"""What a server knows before any client has come: that the run is possible, and what its clients must agree to."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dtfl_private.data.dataset import Dataset, load_dataset
from dtfl_private.data.normalization import POOLED, Normalization
from dtfl_private.data.registration import resolved_normalization
from dtfl_private.deployed.client.own_data import asks_for_sums
from dtfl_private.deployed.deployable import require_deployable
from dtfl_private.deployed.wire.limits import largest_frame
from dtfl_private.errors import InputError
from dtfl_private.experiments.config.toml_files import to_toml
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.setup.named_parts import named_parts
from dtfl_private.experiments.setup.network import build_network, explicit_model
from dtfl_private.experiments.setup.next_token_runs import require_classifier
from dtfl_private.experiments.setup.privacy_settings import over_places, require_records
from dtfl_private.experiments.setup.run_objects import NO_OBJECTS
from dtfl_private.protection.base import name_of
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.simulation.clients.profiles import ResourceProfile

# What is the server's own affair: where its files are, what it simulates, whom it schedules how.
OF_THE_SERVER = (
    *("data_dir", "download", "leakage_budget", "leakage_from", "tier_leakage", "exposure_budget"),
    *("exposure_spending", "record_rounds", "record_clients", "record_images", "workers", "device"),
)

# What the schedule takes a client to be before it has been measured; its tier does not depend on it.
REAL_CLIENT = ResourceProfile(name="client", cpus=1.0, up_mbit_s=100.0, down_mbit_s=100.0, latency_ms=0.0)


@dataclass(frozen=True, kw_only=True)
class Opening:
    """A deployed run before its clients have come.

    Attributes:
        config: of the run, as the server has it.
        agreed: the part of it that clients must agree to, TOML.
        dataset: the server's: the images of the test.
        apart: names of the defenses under which no input may depend on another record.
        needs_sums: whether clients are asked for the sums of their pixels.
        largest: bytes of the largest frame that a run of this kind has.
        defense: of the clients, not yet calibrated.
    """

    config: TrainConfig
    agreed: str
    dataset: Dataset
    apart: Sequence[str]
    needs_sums: bool
    largest: int
    defense: DefenseChain

    def require_images(self, images: int) -> None:
        """Raise `InputError` if no client with so many images can take part: it would end the run for all others."""
        require_records(self.config, self.defense, len(self.dataset.classes), np.array([images]))


def open_run(config: TrainConfig) -> Opening:
    """Check what can be known of a run before its clients have come.

    Raises:
        InputError: it cannot be deployed, or its data are absent or damaged.
    """
    require_deployable(config)
    config = config.model_copy(update={"profiles": [REAL_CLIENT]})
    dataset = load_dataset(
        config.dataset, data_dir=config.data_dir, download=config.download, allowed=config.allowed
    ).without_training()
    normalization = resolved_normalization(Normalization.parse(config.normalization), dataset)
    if normalization.kind == POOLED:
        raise InputError(
            "normalization pooled needs all images at one place: use client-sums, or constants, in a deployed run"
        )
    parts, apart = named_parts(config, NO_OBJECTS), apart_in(config)
    network = build_network(config, None, parts, dataset)
    require_classifier(network.model)
    if network.model.resolved_settings:  # clients must have the same
        config = config.model_copy(update={"model": explicit_model(config, network.model)})
    return Opening(
        config=config,
        agreed=agreed_text(config),
        dataset=dataset,
        apart=apart,
        needs_sums=asks_for_sums(config, dataset, apart),
        largest=largest_frame(network.table, batch_size=config.batch_size, numerics=parts.numerics),
        defense=over_places(parts.defense, dataset, network.model),
    )


def apart_in(config: TrainConfig) -> Sequence[str]:
    """Return the names of a configuration's defenses under which no input may depend on another record."""
    return [name_of(member) for member in named_parts(config, NO_OBJECTS).defense if member.facts.keeps_inputs_apart]


def agreed_text(config: TrainConfig) -> str:
    """Return what clients must agree to, TOML: the configuration without what is the server's own affair."""
    return to_toml(without_server(config))


def without_server(config: TrainConfig) -> TrainConfig:
    """Return a configuration without what is the server's own affair: where files are, what it simulates, records."""
    fields = TrainConfig.model_fields
    return config.model_copy(update={key: fields[key].get_default(call_default_factory=True) for key in OF_THE_SERVER})
