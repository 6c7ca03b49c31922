"""Runs that train a language model on next tokens: what they cannot have, and what their users must know."""

from dtfl_private.data.dataset import TokenDataset
from dtfl_private.errors import InputError
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.setup.held_data import HeldData
from dtfl_private.experiments.setup.loaded_inputs import RunInputs
from dtfl_private.experiments.setup.named_parts import NamedParts
from dtfl_private.models.cutting.staged import StagedModel
from dtfl_private.models.next_token import IGNORED, next_tokens
from dtfl_private.protection.base import Defense, name_of
from dtfl_private.protection.conditional import bare
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.training.method import Method


def next_token_notes(
    model: StagedModel, parts: NamedParts, inputs: RunInputs, config: TrainConfig, held: HeldData | None
) -> list[str]:
    """Check that all parts of a run can take a label for each place, and return what the user must know of it.

    Empty for a network that tells classes apart.

    Raises:
        InputError: naming the part that cannot.
    """
    if model.vocabulary is None:
        return []
    if held is not None:
        require_classifier(model)
    if config.class_weights != "none":
        raise InputError(f"class_weights {config.class_weights} weighs classes, and next-token training has none")
    _require_texts(inputs)
    require_method(parts.method, config.method)
    require_no_record_labels(parts.defense)
    return [
        "accuracy is the share of the places of the test texts at which the next token is the likeliest one, "
        "perplexity is e to the power of the mean loss there"
    ]


def require_classifier(model: StagedModel) -> None:
    """Refuse a language model where each record has one label, as in deployed runs and searches.

    Raises:
        InputError: it is one.
    """
    if model.vocabulary is not None:
        raise InputError(
            "next-token training is for train, sweep and plan: deployed runs and tune have one label for each record"
        )


def require_method(method: Method, name: str) -> None:
    """Refuse a method that keeps or exchanges one set of logits for each record.

    Raises:
        InputError: naming it.
    """
    if not method.token_labels:
        raise InputError(f"method {name} takes a label for each record, and next-token training has one at each place")


def require_no_record_labels(chain: DefenseChain) -> None:
    """Refuse defenses that act on one label for each record, or on gradients of single records.

    Raises:
        InputError: naming the first.
    """
    for member in map(bare, chain):
        facts, kind = member.facts, type(member)
        if "labels" in facts.acts_on or kind.classification_loss is not Defense.classification_loss:
            reason = "it acts on one label for each record, and there is one at each place: the labels are the text"
        elif kind.training_pass is not Defense.training_pass:
            reason = "the loss is a mean over the places of a batch, in which no record stands for itself"
        elif kind.inspect_reply is not Defense.inspect_reply:
            reason = "it compares records of different labels, and there is one at each place"
        elif facts.refuses_next_tokens:
            reason = facts.refuses_next_tokens
        else:
            continue
        raise InputError(f"{name_of(member)} cannot act in next-token training: {reason}; leave it out")


def _require_texts(inputs: RunInputs) -> None:
    data = inputs.dataset
    assert isinstance(data, TokenDataset), "language models take tokens"
    for part, texts in (("training", data.train_images), ("test", data.test_images)):
        if not bool((next_tokens(texts.long(), data.padding) != IGNORED).any()):
            raise InputError(f"{data.name}: no {part} text has two tokens, of which one could be told from the other")
