"""What levels, metrics and measures say, and what they do not."""

from collections.abc import Mapping

from dtfl_private.leakage.measures.base import MeasureFacts
from dtfl_private.leakage.measures.registry import MEASURES
from dtfl_private.verdicts.findings import Level
from dtfl_private.verdicts.verdict import EXPOSED

LEVEL_MEANING: Mapping[Level, str] = {
    "exposed": f"at least {EXPOSED:.0%} of the attacked records can be told from the others by their reconstructions, "
    "and more than by the trivial guess, with 95% confidence, by an attack that is surely beyond the guess",
    "partly exposed": "some attack is surely beyond the trivial guess, victim by victim, or canaries surely prove an "
    "epsilon above 0",
    "not shown to leak": "neither. It does not mean safe: an attack that failed proves nothing",
    "invalid": "a sanity check failed, so the attacks prove nothing",
}
"""What levels are, as `dtfl_private.verdicts.verdict` gives them."""


MEANING: Mapping[str, str] = {
    "mse": "mean squared difference of pixels within 0 to 1; 0 is a perfect copy",
    "psnr": "peak signal-to-noise ratio of the reconstruction in decibels; the higher, the closer to the truth",
    "ssim": "structural similarity of reconstruction and truth; 1 is a perfect copy, 0 none",
    "lpips": "perceptual distance by a trained network; 0 is a perfect copy",
    "identifiability": "share of reconstructions whose nearest record among many candidates is the true one",
    "classifier-accuracy": "share of reconstructions whose class an independent classifier still names",
    "token-accuracy": "share of a text's tokens that were read back, each at its place; the mean over texts",
    "rouge-l": "share of a text's tokens that were read back in their order, wherever they stand; 1 is the text itself",
    "exact-sequences": "share of the texts that were read back without a mistake",
    "auc": "how well members are told from others; 0.5 is chance",
    "tpr-at-fpr-0.01": "share of members found while one other in a hundred is accused wrongly",
    "tpr-at-fpr-0.001": "share of members found while one other in a thousand is accused wrongly",
    "balanced-accuracy": "share guessed right, both groups counting the same; 0.5 is chance",
    "accuracy": "share guessed right",
}
"""What metrics of attacks are, in words, by name; without those of the most exposed images."""


UNEXPLAINED = MeasureFacts(
    says="see the documentation of this measure",
    does_not_say="how much an attack gets: only attacks show that, and only from below",
    source="",
)


def explanation(source: str) -> MeasureFacts:
    """Return what a measure says and does not say; of one that is not known here, what is true of all."""
    return MEASURES[source].facts if source in MEASURES else UNEXPLAINED


def meaning(metric: str) -> str | None:
    """Return what a metric is, in words; None where it is not known here."""
    found = MEANING.get(metric.removesuffix("-worst-5"))
    return f"{found}; over the most exposed images" if found and metric.endswith("-worst-5") else found
