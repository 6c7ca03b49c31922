"""From a configuration to what a worker needs."""

from torch import nn

from dtfl_private.data.preprocess import Preprocessor
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.setup.loaded_inputs import RunInputs
from dtfl_private.experiments.setup.named_parts import NamedParts
from dtfl_private.experiments.setup.network import CostedNetwork
from dtfl_private.models.copies import copied
from dtfl_private.models.heads import make_heads
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.randomness import isolated
from dtfl_private.simulation.costs.table import TierTable
from dtfl_private.training.optimizers import OptimizerSettings, PlateauSettings
from dtfl_private.training.worker import WorkerSetup


def optimizer_settings(config: TrainConfig) -> OptimizerSettings:
    """Return the optimiser of both halves."""
    return OptimizerSettings(name=config.optimizer, weight_decay=config.weight_decay, momentum=config.momentum)


def plateau_settings(config: TrainConfig) -> PlateauSettings:
    """Return when the learning rate decays."""
    return PlateauSettings(factor=config.lr_decay, patience=config.lr_patience)


def worker_setup(
    config: TrainConfig,
    parts: NamedParts,
    inputs: RunInputs,
    network: CostedNetwork,
    table: TierTable,
    defense: DefenseChain,
    normaliser: Preprocessor,
) -> WorkerSetup:
    """Return all that a worker needs to train any client of a run.

    Args:
        config: of the run.
        parts: give method, seed of the heads and numerics.
        inputs: images and who holds them.
        network: is copied.
        table: the run's cost table; there are heads for its tiers.
        defense: calibrated.
        normaliser: of the images.
    """
    dataset, numerics = inputs.dataset, parts.numerics
    apart = inputs.validation if config.judged_on == "test" else None  # otherwise they are the test images
    return WorkerSetup(
        work=parts.method.work(),
        model=copied(network.model).to(dtype=numerics.weight_dtype),
        heads=_heads(config, parts, inputs, network, table),
        train_images=dataset.train_images,
        train_labels=dataset.train_labels,
        test_images=dataset.test_images,
        test_labels=dataset.test_labels,
        parts=inputs.parts,
        normaliser=normaliser,
        augmentations=config.augment,
        optimizer=optimizer_settings(config),
        batch_size=config.batch_size,
        local_epochs=config.local_epochs,
        numerics=numerics,
        defense=defense,
        classes=inputs.classes,
        seed=config.seed,
        send_every=config.send_every,
        tail=parts.method.held_tail,
        head_size=config.head,
        **({} if apart is None else {"validation_images": apart.images, "validation_labels": apart.labels}),
    )


def _heads(
    config: TrainConfig, parts: NamedParts, inputs: RunInputs, network: CostedNetwork, table: TierTable
) -> dict[int, nn.Module]:
    """Return the auxiliary heads of the run's tiers.

    They are drawn for all tiers, so that a tier's head does not depend on which are allowed.
    """
    shapes = {row.tier: row.cut_shape for row in network.table.rows if parts.method.has_heads}
    with isolated(config.seed, "heads"):
        heads = make_heads(shapes, inputs.classes, config.head, network.model.vocabulary)
    tiers = [tier for tier in table.tiers_M.tolist() if tier in heads]
    return {tier: heads[tier].to(dtype=parts.numerics.weight_dtype) for tier in tiers}
