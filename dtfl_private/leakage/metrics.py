"""The metrics in results: their names, what they mean, and which values are bad for privacy."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

WORST_SHARE = 0.05
# Of LPIPS 0.1 with AlexNet: twice the sum over its layers of their largest weights, as features are unit vectors
# without negative values, whose squared differences add up to 2 at most.
LARGEST_LPIPS = 8.05


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A metric by which attacks are judged.

    Attributes:
        name: in results.
        label: for people, with the unit.
        exposing: which values expose most, "high" or "low" ones.
        share: whether it is a share: each image or record counts 0 or 1 (or a part, where it is one of several equals).
        digits: behind the decimal point, for people.
        span: the least and the largest value that there can be, of a share 0 and 1; None where that is not known.
    """

    name: str
    label: str
    exposing: Literal["high", "low"] = "high"
    share: bool = False
    digits: int = 3
    span: tuple[float, float] | None = None

    @property
    def limits(self) -> tuple[float, float] | None:
        """The least and the largest value that there can be."""
        return (0.0, 1.0) if self.share else self.span

    @property
    def worst(self) -> "Metric":
        """The same of the most exposed 5 % of the images."""
        return replace(self, name=f"{self.name}-worst-5", label=f"{self.label}, worst {WORST_SHARE:.0%}")


MSE = Metric(name="mse", label="MSE", exposing="low", digits=4, span=(0.0, 1.0))
# Of images within 0..1; equal ones have 100 dB.
PSNR = Metric(name="psnr", label="PSNR, dB", digits=1, span=(0.0, 100.0))
SSIM = Metric(name="ssim", label="SSIM", span=(-1.0, 1.0))
LPIPS = Metric(name="lpips", label="LPIPS", exposing="low", span=(0.0, LARGEST_LPIPS))
IDENTIFIABILITY = Metric(name="identifiability", label="identifiability", share=True)
CLASSIFIER_ACCURACY = Metric(name="classifier-accuracy", label="classifier accuracy", share=True)
# Of each victim the share of its tokens: no case that counts 0 or 1.
TOKEN_ACCURACY = Metric(name="token-accuracy", label="token accuracy", span=(0.0, 1.0))
ROUGE_L = Metric(name="rouge-l", label="ROUGE-L", span=(0.0, 1.0))
EXACT_SEQUENCES = Metric(name="exact-sequences", label="exact sequences", share=True)
AUC = Metric(name="auc", label="AUC", span=(0.0, 1.0))
TPR_AT_1_PERCENT = Metric(name="tpr-at-fpr-0.01", label="TPR at 1% FPR", share=True)
TPR_AT_01_PERCENT = Metric(name="tpr-at-fpr-0.001", label="TPR at 0.1% FPR", share=True)
BALANCED_ACCURACY = Metric(name="balanced-accuracy", label="balanced accuracy", share=True)
ACCURACY = Metric(name="accuracy", label="accuracy", share=True)

OF_MEASURES = (
    Metric(name="dcor-squared", label="dCor², bias-corrected"),
    Metric(name="dcor-p-value", label="dCor², p-value", exposing="low"),
    Metric(name="linear-cka", label="linear CKA, debiased"),
    Metric(name="jacobian-trace-per-pixel", label="tr(JᵀJ) per input value"),
    Metric(name="noise-for-mse-0.01", label="noise for MSE 0.01, sd of z"),
    Metric(name="noise-for-mse-0.01-cumulated", label="noise for MSE 0.01, all releases, sd of z"),
    Metric(name="dfil", label="dFIL per input value", digits=1),
    Metric(name="dfil-cumulated", label="dFIL per input value, all releases", digits=1),
    Metric(name="mse-bound-unbiased", label="MSE bound, unbiased", exposing="low", digits=4),
    Metric(name="mse-bound-unbiased-cumulated", label="MSE bound, unbiased, all releases", exposing="low", digits=4),
    Metric(name="mse-bound-prior", label="MSE bound, Gaussian prior", exposing="low", digits=4),
    Metric(name="mse-bound-prior-cumulated", label="MSE bound, Gaussian prior, all releases", exposing="low", digits=4),
    Metric(name="mi-ceiling-bits", label="information ceiling, bits", digits=0),
    Metric(name="mi-ceiling-bits-cumulated", label="information ceiling, all releases, bits", digits=0),
    Metric(name="mi-gaussian-bits", label="information ceiling by eigenvalues, bits", digits=0),
    Metric(name="noise-for-mi-64-bits", label="noise for 64 bits, sd of z"),
    Metric(name="noise-for-mi-64-bits-cumulated", label="noise for 64 bits, all releases, sd of z"),
    Metric(name="empirical-epsilon", label="epsilon, lower bound", digits=2),
    Metric(name="empirical-epsilon-cumulated", label="epsilon, lower bound, repeated releases", digits=2),
    Metric(name="empirical-epsilon-ceiling", label="epsilon, highest bound possible", digits=2),
    Metric(name="effective-rank", label="effective rank of z", digits=1),
    Metric(name="values-per-pixel", label="values of z per input value", digits=2),
)

METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        *(MSE, MSE.worst, PSNR, PSNR.worst, SSIM, SSIM.worst, LPIPS, IDENTIFIABILITY, CLASSIFIER_ACCURACY),
        *(TOKEN_ACCURACY, ROUGE_L, EXACT_SEQUENCES),
        *(AUC, TPR_AT_1_PERCENT, TPR_AT_01_PERCENT, BALANCED_ACCURACY, ACCURACY),
        *OF_MEASURES,
    )
}


def find_metric(name: str) -> Metric:
    """Return the metric of this name; of one that is not known here, a plain one with its name as the label."""
    return METRICS.get(name, Metric(name=name, label=name))
