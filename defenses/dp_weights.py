"""DP-SGD on the client half and its auxiliary head (Abadi et al. 2016, 1607.00133, algorithm 1)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from dtfl_private.defenses.shared.clipping import clipped_sum
from dtfl_private.defenses.shared.noise_dial import NoiseDial, Positive
from dtfl_private.errors import InputError, RunError
from dtfl_private.privacy.calibrate import noise_for_steps
from dtfl_private.protection.base import DefenseFacts
from dtfl_private.protection.client_context import ClientRound, LocalTraining
from dtfl_private.protection.cost import RoundRelease, RunFacts
from dtfl_private.protection.draws import normal, plus_noise, uniform
from dtfl_private.protocol.guarantees import Guarantee, SampledGaussian

if TYPE_CHECKING:
    from dtfl_private.defenses.shared.per_record import PerRecordGradients


def sampling_rate(records: int, batch_size: int) -> float:
    """Return the probability of each record to be in a step's sample, so that a batch is expected."""
    return min(1.0, batch_size / records)


def poisson_sample(records: int, rate: float, chance: torch.Generator) -> Tensor:
    """Return the numbers of the records drawn, each by itself with probability ``rate``: (any number,) int64, CPU."""
    # Doubles, as float32 has 2^24 values, which would put the rate off by up to 6e-8.
    drawn = uniform((records,), chance, torch.float64) < rate
    return drawn.nonzero().flatten().cpu()


def _sent_buffers(modules: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield the buffers that are part of what is sent, by name; frozen weights, which may be many, are not."""
    sent = modules.state_dict().keys()
    return ((name, buffer) for name, buffer in modules.named_buffers() if name in sent)


@dataclass(frozen=True, kw_only=True)
class DpWeights(NoiseDial):
    """DP-SGD on client half and head: (epsilon, delta) per record for released weights; not for smashed data or labels.

    The client trains by steps on secret Poisson samples, and then sends every record once with its weights frozen, so
    that what it sends does not give the samples away. Who sees smashed data sees the records themselves: the guarantee
    is for a party that sees weights only. Steps, expected batch and optimiser are those of plain training. The noise
    and the samples come from the run's seeded generator in a simulation, which is not cryptographically secure, and in
    a deployment from the client's operating system.

    Args:
        epsilon, noise_multiplier, delta: see `NoiseDial`; the noise for a target epsilon is one for all clients, and
            enough for the worst-off client if it takes part in every round.
        clip: bound on the Euclidean norm of a record's gradient.
    """

    clip: Positive = 1.0

    facts: ClassVar[DefenseFacts] = DefenseFacts(
        protects="released weights of client half and head",
        acts_on=("training",),
        guarantee="(epsilon, delta) per record added or removed, for released weights only",
        cost="about twice the time of a step, a gradient per record in memory, a second pass; the server starts later",
        attacker="which records a step used, and the noise (seeded in a simulation: not cryptographically secure then)",
        releases_apart=True,
        group_norm=True,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.clip < float("inf"):
            raise InputError(f"clip={self.clip} is refused: it must be positive and finite")

    def calibrated(self, run: RunFacts) -> "DpWeights":
        """Return the defense with the noise that keeps every client within the target epsilon."""
        self.require_small_delta(run)
        if not self.needs_calibration:
            return self
        plans = [
            (
                sampling_rate(records, run.batch_size),
                run.rounds * run.local_epochs * -(-records // run.batch_size),
            )
            for records in run.records_K
        ]
        return replace(self, noise_multiplier=noise_for_steps(self.target, plans))

    def training_pass(self, training: LocalTraining, at: ClientRound) -> list[Tensor]:
        """Take the round's DP-SGD steps; return a loss per step, none for a step whose sample was empty."""
        from dtfl_private.defenses.shared.per_record import per_record_gradients  # loads Opacus, which takes seconds

        buffers = {name: buffer.clone() for name, buffer in _sent_buffers(training.modules)}
        losses = []
        with per_record_gradients(training.modules) as gradients:
            for _ in range(training.steps):
                losses += self._step(training, gradients, at.chance)
        for name, buffer in _sent_buffers(training.modules):
            if not torch.equal(buffer, buffers[name]):
                raise RunError(f"dp-weights cannot protect buffer '{name}', which training changed: use group norm")
        return losses

    def _step(self, training: LocalTraining, gradients: "PerRecordGradients", chance: torch.Generator) -> list[Tensor]:
        """Step on the noisy mean of the clipped gradients of a sample."""
        rate = sampling_rate(training.records, training.batch_size)
        records = poisson_sample(training.records, rate, chance)
        parameters = list(gradients.parameters.values())
        losses = []
        if len(records):
            loss = training.mean_loss(*training.fetch(records))
            sums = clipped_sum(gradients.of_batch(loss * len(records), len(records)), self.clip)
            losses.append(loss.detach())
        else:
            sums = [torch.zeros_like(parameter) for parameter in parameters]
        # The expected size: the true one is secret.
        size = rate * training.records
        for parameter, total in zip(parameters, sums, strict=True):
            noise = normal(total.shape, chance, total.dtype)
            parameter.grad = plus_noise(total, noise, self.noise * self.clip) / size
        training.optimizer.step()
        training.optimizer.zero_grad()
        return losses

    def guarantees(self, released: RoundRelease) -> Sequence[Guarantee]:
        """Return the steps that a released update depends on."""
        # Smashed data that were sent were made with the trained weights, also when these did not follow.
        if not (released.update or released.batches):
            return ()
        return (
            SampledGaussian(
                noise_multiplier=self.noise,
                sampling_rate=sampling_rate(released.records, released.batch_size),
                steps=released.steps,
                target=self.target,
            ),
        )
