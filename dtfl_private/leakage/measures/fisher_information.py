"""Fisher information of smashed data about the images, and the reconstruction errors that it allows.

With Gaussian noise of standard deviation s on activations f(x) of Jacobian J by d input values, the Fisher information
is J^T J / s^2, and dFIL = tr(J^T J) / (d s^2) (Maeng et al. 2023, 2305.04146). Images are in [0, 1], so J is by pixel
values and errors are in their units squared.

    mean squared error >= 1 / dFIL                    of an unbiased reconstruction (Cramer-Rao)
    mean squared error >= sum_i min(l_i, t) / d       of any, averaged over images of a Gaussian prior (van Trees)

l_i are the variances of the prior's principal components, and t the level to which information of the trace d E dFIL
can bring them down (`dtfl_private.leakage.measures.gaussian_prior`). Of a linear client half no linear attacker gets
below the second bound, however images are distributed. Others may: images are not Gaussian, and the Gaussian is, of
all priors of a covariance, the one that tells least beforehand.

What defenses do before the noise may only bring records closer (`KnownNoise`), so that the plain client half's Jacobian
is an upper bound; what they do after it adds nothing. Fisher information adds over releases: cumulated figures are for
all of them, as if each had been made with the weights at hand.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from dtfl_private.leakage.intervals import Interval, mean_interval
from dtfl_private.leakage.measures.base import Figure, Measure, MeasureFacts, Release, require_records, with_interval
from dtfl_private.leakage.measures.gaussian_prior import GaussianPrior, gaussian_prior
from dtfl_private.protocol.contracts import FloatArray
from dtfl_private.randomness import stream, torch_stream

PROBES = 4
# One record shows no spread.
LEAST_RECORDS = 2
ASKED_RECORDS = 500
# A tenth of the range of pixels: at that error, details are gone and outlines remain.
TARGET_MSE = 0.01
# More images than these for the prior's covariance take long.
MOST_PRIOR_IMAGES = 1000


@dataclass(frozen=True, kw_only=True)
class FisherInformation(Measure):
    """Bound the error of reconstructions by Fisher information, where the noise is known (dFIL, Maeng et al. 2023).

    Without noise dFIL is infinite. Then the figures are tr(J^T J) / d, and the noise that would raise the bound on
    unbiased reconstructions to 0.01.

    Attributes:
        probes: random vectors for the trace; each costs a backward pass.
    """

    facts: ClassVar[MeasureFacts] = MeasureFacts(
        says="how far pixels move smashed data; under Gaussian noise, the least error of an unbiased reconstruction, "
        "and of any if images were Gaussian (of a linear one from a linear client half, whatever they are)",
        does_not_say="the error of real attackers, who know more of images than their covariance and may get below it",
        source="Maeng et al. 2023 (2305.04146); Hutchinson 1989; Van Trees 1968 (Detection, Estimation, section 2.4)",
    )

    probes: int = PROBES

    def figures(self, release: Release) -> Sequence[Figure]:
        """Return the trace and the noise needed; under known noise, dFIL and the bounds.

        Raises:
            InputError: there is one record only.
        """
        require_records(release, LEAST_RECORDS, ASKED_RECORDS, "fisher-information")
        traces = mean_interval(self.traces(release), stream(release.seed, "fisher-information", "interval"))
        found = {"jacobian-trace-per-pixel": traces}
        if release.noise.std is None:
            value, low, high = ((TARGET_MSE * trace) ** 0.5 for trace in (traces.value, traces.low, traces.high))
            needed = Interval(value=value, low=low, high=high)
            found |= {"noise-for-mse-0.01": needed}
            if release.releases > 1:
                found["noise-for-mse-0.01-cumulated"] = _scaled(needed, release.releases**0.5)
        else:
            dfil = _scaled(traces, 1 / release.noise.std**2)
            known = release.images if release.auxiliary is None else release.auxiliary
            prior = gaussian_prior(known[:MOST_PRIOR_IMAGES])
            found |= _bounds(dfil, prior, "")
            if release.releases > 1:
                found |= _bounds(_scaled(dfil, release.releases), prior, "-cumulated")
        return [with_interval(metric, interval, release.records) for metric, interval in found.items()]

    def remarks(self, release: Release) -> Sequence[str]:
        """Return why there are no bounds."""
        return () if release.noise.std is not None else (f"no dFIL and no bounds on errors: {release.noise.reason}",)

    def traces(self, release: Release) -> FloatArray:
        """Return estimates (probes, n) of tr(J^T J) / d, J of all activations of a record's batch by its pixels.

        Hutchinson's estimator in reverse: |J^T v|^2 for normal v has the mean tr(J J^T) = tr(J^T J). Backwards, because
        then a record's share also counts what it does to others by batch norm, and because batch norm's statistics,
        which it updates in place, cannot be followed by ``torch.func.jvp``.
        """
        chance = torch_stream(release.seed, "fisher-information", device=release.images.device)
        found = []
        for batch in release.batches():
            with torch.enable_grad():
                points = release.images[batch].detach().clone().requires_grad_()
                outputs = release.encoder(points)
                for probe in range(self.probes):
                    vector = torch.randn(outputs.shape, generator=chance, device=outputs.device, dtype=outputs.dtype)
                    last = probe == self.probes - 1
                    (pulled,) = torch.autograd.grad(outputs, points, vector, retain_graph=not last)
                    found.append(pulled.double().flatten(1).square().mean(dim=1).cpu())
        by_batch = torch.stack(found).reshape(-1, self.probes, release.batch_size)
        return np.asarray(by_batch.transpose(0, 1).reshape(self.probes, -1))


def _bounds(dfil: Interval, prior: GaussianPrior, suffix: str) -> dict[str, Interval]:
    found = {f"dfil{suffix}": dfil, f"mse-bound-prior{suffix}": prior.bound(dfil)}
    # Where nothing is told there is no bound to state: an unbiased reconstruction does not exist.
    return found | ({f"mse-bound-unbiased{suffix}": _inverse(dfil)} if dfil.low > 0 else {})


def _inverse(information: Interval) -> Interval:
    return Interval(value=1 / information.value, low=1 / information.high, high=1 / information.low)


def _scaled(found: Interval, factor: float) -> Interval:
    return Interval(value=found.value * factor, low=found.low * factor, high=found.high * factor)
