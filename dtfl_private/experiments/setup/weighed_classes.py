"""The weights of classes in a run's training loss, and what clients say for them."""

from dataclasses import replace

from dtfl_private.data.class_weights import ClassRegistration, register_classes
from dtfl_private.data.partition import class_counts
from dtfl_private.errors import InputError
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.setup.loaded_inputs import RunInputs
from dtfl_private.experiments.setup.privacy_settings import states_guarantees
from dtfl_private.protection.base import Defense, name_of
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.training.method import Method
from dtfl_private.training.round import RoundSettings


def weighed_classes(
    config: TrainConfig, inputs: RunInputs, defense: DefenseChain, method: Method
) -> ClassRegistration | None:
    """Return the weights of the classes, and what clients sent for them; None where all classes count alike.

    Raises:
        InputError: a defense guarantees something that sent counts would break, or has a loss of its own.
    """
    if config.class_weights == "none":
        return None
    for member in defense:
        if states_guarantees(DefenseChain([member])):
            raise InputError(
                f"class_weights balanced has each client send its class counts, which the guarantee of "
                f"{name_of(member)} does not cover: leave one of them out"
            )
        if type(member).classification_loss is not Defense.classification_loss:
            raise InputError(
                f"class_weights balanced weighs cross-entropy, and {name_of(member)} has a loss of its own: leave one "
                "of them out"
            )
    counts_KC = class_counts(inputs.dataset.train_labels.numpy(), inputs.parts, inputs.classes)
    return register_classes(counts_KC, central=method.pooled)


def with_traffic(settings: RoundSettings, classes: ClassRegistration) -> RoundSettings:
    """Return the settings of rounds with what was sent for class weights counted too."""
    total = {kind: count + classes.traffic[kind] for kind, count in settings.registration.items()}
    return replace(settings, registration=total)
