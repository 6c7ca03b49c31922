"""Victims that are one and the same image, or text, cannot be told apart, however well an attack gets them back."""

from collections.abc import Sequence

from dtfl_private.attacking.scoring.scoring import Verdict
from dtfl_private.report.words.numbers import number_of
from dtfl_private.verdicts.findings import NotTested


def equal_victims(verdicts: Sequence[Verdict]) -> NotTested | None:
    """Return that some of the victims' images, or texts, are equal, and what follows from it; None if all differ.

    Args:
        verdicts: of the attacks on the run.
    """
    truths = [one.rebuilt.truth for one in verdicts if one.rebuilt is not None]
    if not truths:
        return None
    victims = truths[0]
    distinct = len({image.numpy().tobytes() for image in victims})
    if distinct == len(victims):
        return None
    noun = "text" if victims.ndim == 2 else "image"
    images, most = number_of(distinct, f"different {noun}"), distinct / len(victims)
    why = f"{len(victims)} victims have {images}: no attack can reach identifiability above {most:.3f}, whatever leaks"
    return NotTested(what="telling equal records apart", why=why)
