"""The metrics in results: their names, what they mean, and which values are bad for privacy."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

WORST_SHARE = 0.05


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A metric by which attacks are judged.

    Attributes:
        name: in results.
        label: for people, with the unit.
        exposing: which values expose most, "high" or "low" ones.
        share: whether it is a share: each image or record counts 0 or 1 (or a part, where it is one of several equals).
        digits: behind the decimal point, for people.
    """

    name: str
    label: str
    exposing: Literal["high", "low"] = "high"
    share: bool = False
    digits: int = 3

    @property
    def worst(self) -> "Metric":
        """The same of the most exposed 5 % of the images."""
        return replace(self, name=f"{self.name}-worst-5", label=f"{self.label}, worst {WORST_SHARE:.0%}")


MSE = Metric(name="mse", label="MSE", exposing="low", digits=4)
PSNR = Metric(name="psnr", label="PSNR, dB", digits=1)
SSIM = Metric(name="ssim", label="SSIM")
LPIPS = Metric(name="lpips", label="LPIPS", exposing="low")
IDENTIFIABILITY = Metric(name="identifiability", label="identifiability", share=True)
CLASSIFIER_ACCURACY = Metric(name="classifier-accuracy", label="classifier accuracy", share=True)
AUC = Metric(name="auc", label="AUC")
TPR_AT_1_PERCENT = Metric(name="tpr-at-fpr-0.01", label="TPR at 1% FPR", share=True)
TPR_AT_01_PERCENT = Metric(name="tpr-at-fpr-0.001", label="TPR at 0.1% FPR", share=True)
BALANCED_ACCURACY = Metric(name="balanced-accuracy", label="balanced accuracy", share=True)
ACCURACY = Metric(name="accuracy", label="accuracy", share=True)

METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        *(MSE, MSE.worst, PSNR, PSNR.worst, SSIM, SSIM.worst, LPIPS, IDENTIFIABILITY, CLASSIFIER_ACCURACY),
        *(AUC, TPR_AT_1_PERCENT, TPR_AT_01_PERCENT, BALANCED_ACCURACY, ACCURACY),
    )
}


def find_metric(name: str) -> Metric:
    """Return the metric of this name; of one that is not known here, a plain one with its name as the label."""
    return METRICS.get(name, Metric(name=name, label=name))
