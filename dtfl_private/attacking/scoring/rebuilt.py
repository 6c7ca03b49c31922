"""What attacks made of the victims' inputs: images, or texts read back, with the truth and a guess beside them."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from dtfl_private.leakage.image_metrics import psnr, ssim
from dtfl_private.leakage.token_metrics import real_tokens, token_accuracy
from dtfl_private.protocol.contracts import FloatArray


@dataclass(frozen=True, kw_only=True)
class Rebuilt(ABC):
    """Inputs that were rebuilt: truth, one guess per seed, the best trivial guess.

    ``scores`` are (seeds, N) by metric.
    """

    METRIC: ClassVar[str]
    """By which reconstructions are compared, the higher the better; 1 is the truth."""

    truth: Tensor
    guesses: Sequence[Tensor]
    baseline: Tensor
    baseline_name: str
    scores: Mapping[str, FloatArray]

    @property
    def reached(self) -> FloatArray:
        """The scores (seeds, N) by ``METRIC``."""
        return self.scores[self.METRIC]

    @abstractmethod
    def score(self, guess: Tensor, truth: Tensor) -> Mapping[str, FloatArray]:
        """Return what another guess scores, victim by victim (N,), by the metrics that effort is judged by."""

    @property
    def guessed(self) -> FloatArray:
        """What the trivial guess scores (N,) by ``METRIC``."""
        return self.score(self.baseline, self.truth)[self.METRIC]


@dataclass(frozen=True, kw_only=True)
class Pictured(Rebuilt):
    """Reconstructed images, all (N, C, H, W) in [0, 1]."""

    METRIC: ClassVar[str] = "ssim"

    def score(self, guess: Tensor, truth: Tensor) -> Mapping[str, FloatArray]:
        """Return SSIM and PSNR."""
        return {"ssim": ssim(guess, truth), "psnr": psnr(guess, truth)}


@dataclass(frozen=True, kw_only=True)
class ReadBack(Rebuilt):
    """Texts that were read back, all (N, T) int64; each has a place that is not filled up by ``padding``."""

    METRIC: ClassVar[str] = "token-accuracy"

    padding: int | None

    def score(self, guess: Tensor, truth: Tensor) -> Mapping[str, FloatArray]:
        """Return the token accuracy of texts that are not empty."""
        real = real_tokens(truth, self.padding)
        there = real.any(dim=1)
        return {self.METRIC: token_accuracy(guess[there], truth[there], real[there])}
