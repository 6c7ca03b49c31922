"""Texts that were read back meet the true ones."""

from collections.abc import Sequence

import torch
from torch import Tensor

from dtfl_private.attacking.scoring.judged import Judged, Scored
from dtfl_private.attacking.scoring.rebuilt import ReadBack
from dtfl_private.attacking.scoring.repetitions import Repetition, common_victims
from dtfl_private.attacking.victims.victims import Victims
from dtfl_private.leakage.baselines import Known
from dtfl_private.leakage.results.result_heading import Heading
from dtfl_private.leakage.results.token_results import token_results, trivial_texts
from dtfl_private.leakage.token_baselines import KnownTexts
from dtfl_private.leakage.token_metrics import real_tokens
from dtfl_private.protocol.vocabulary import Vocabulary

# Two attacks on texts are compared by these.
COMPARED = ("token-accuracy", "rouge-l")


def not_empty(victims: Victims, places: Tensor, vocabulary: Vocabulary) -> Tensor:
    """Return those of some places of victims whose texts are not empty: of the others there is nothing to read."""
    return places[real_tokens(victims.truth[places], vocabulary.padding).any(dim=1)]


def texts_of(known: Known | None, vocabulary: Vocabulary) -> KnownTexts | None:
    """Return what is known of texts without an attack."""
    if known is None:
        return None
    return KnownTexts(
        sequences=known.images,
        labels=known.labels,
        victim_labels=known.victim_labels,
        truth=known.truth,
        vocabulary=vocabulary,
    )


def common_texts(repetitions: Sequence[Repetition], vocabulary: Vocabulary) -> tuple[Tensor, list[Tensor]]:
    """Return the places of the victims that all repetitions share, without empty texts, and the guesses of these."""
    common, guesses = common_victims(repetitions)
    there = torch.isin(common, not_empty(repetitions[0].victims, common, vocabulary))
    return common[there], [guess[there] for guess in guesses]


def judged_texts(
    victims: Victims,
    places: Tensor,
    guesses: Sequence[Tensor],
    known: KnownTexts | None,
    padding: int | None,
    heading: Heading,
) -> tuple[Judged, ReadBack]:
    """Judge texts that were read back.

    Args:
        victims: whose texts they are.
        places: of those that are judged, among the victims (N,).
        guesses: sequences (N, T) of each repetition.
        known: what trivial guesses are made from.
        padding: the number that fills up; None if none does.
        heading: of the results.
    """
    truth = victims.truth[places]
    judged = token_results(guesses, known, truth, padding, heading)
    trivial, best = trivial_texts(known, truth), str(judged.results[0].baseline_name)
    read_back = ReadBack(
        truth=truth,
        guesses=guesses,
        baseline=trivial[best],
        baseline_name=best,
        scores=judged.scores,
        padding=padding,
    )
    scores = {name: [judged.scores[name]] for name in COMPARED}
    scored = Scored(truth=truth, records=victims.records[places], scores=scores)
    return Judged(results=judged.results, scored=scored), read_back
