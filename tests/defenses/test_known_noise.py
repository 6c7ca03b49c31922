"""What can be counted on of the noise in smashed data, by defenses and chains of them."""

import math
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

from dtfl_private.plugins.installed import installed
from dtfl_private.plugins.registry import create
from dtfl_private.protection.base import Defense, DefenseFacts
from dtfl_private.protection.client_context import ClientRound
from dtfl_private.protection.cost import Cut, KnownNoise
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.protocol.messages import SmashedBatch

CUT = Cut(tier=1, input_shape=(1, 8, 8), cut_shape=(4, 8, 8), smashed_bytes=1024, forward_macs=1, batch_size=6)
NOISE = "gaussian-noise:sd=0.5"


def known(*texts: str) -> KnownNoise:
    return DefenseChain([create("defense", text) for text in texts]).known_noise(CUT)


@dataclass(frozen=True, kw_only=True)
class Cropper(Defense):
    """A defense of the inputs that claims to be harmless."""

    facts: ClassVar[DefenseFacts] = DefenseFacts(protects="inputs", acts_on=("input",), nonexpansive=True)


@pytest.mark.parametrize(
    ("texts", "std", "contracted"),
    [
        ([NOISE], 0.5, False),
        (["information-bottleneck:sigma=0.4"], 0.4, False),
        (["dp-activations:noise_multiplier=2,clip=3"], 6.0, True),
        # Without a clip it is the root of half the number of values.
        (["dp-activations:noise_multiplier=2"], 2 * math.sqrt(128), True),
        # What does not touch smashed data has no say.
        (["distance-correlation", "adversarial-decoder", NOISE, "update-noise"], 0.5, False),
        # Shuffles before the noise only move values; whatever comes after it only sees noisy ones.
        (["patch-shuffle", NOISE], 0.5, True),
        (["laplace-noise", NOISE], 0.5, True),
        ([NOISE, "quantize", "top-k"], 0.5, False),
        # Of two noises the stronger one counts.
        ([NOISE, "gaussian-noise:sd=2"], 2.0, False),
        (["gaussian-noise:sd=2", NOISE], 2.0, False),
        ([NOISE, "quantize", "gaussian-noise:sd=2"], 0.5, False),
    ],
)
def test_noise_is_counted_on_where_it_covers_everything(texts, std, contracted):
    assert known(*texts) == KnownNoise(std=std, contracted=contracted)


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        ([], "no defense adds Gaussian noise"),
        (["identity"], "no defense adds Gaussian noise"),
        (["patch-shuffle"], "no defense adds Gaussian noise"),
        (["laplace-noise"], "no defense adds Gaussian noise"),
        (["quantize", NOISE], "quantize changes the smashed data"),
        (["top-k", NOISE], "top-k changes the smashed data"),
        # It acts inside the forward pass, before the noise on the message, wherever it stands.
        ([NOISE, "dropout"], "dropout changes the smashed data"),
        (["information-bottleneck", "dropout"], "dropout changes the smashed data"),
        ([NOISE, "fisher-noise"], "its own guarantee: a lower bound on the error of an unbiased reconstruction"),
    ],
)
def test_noise_is_not_counted_on_otherwise_and_the_reason_is_said(texts, reason):
    found = known(*texts)
    assert found.std is None
    assert reason in found.reason


def test_what_changes_the_inputs_is_never_known():
    found = DefenseChain([Cropper(), create("defense", NOISE)]).known_noise(CUT)
    assert found.std is None
    assert "cropper" in found.reason


@pytest.mark.parametrize("name", sorted(installed("defense")))
def test_what_is_called_nonexpansive_moves_no_two_batches_apart(name):
    """50 pairs of batches, near and far, with the same draws before both."""
    defense = create("defense", name)
    if not defense.facts.nonexpansive:
        assert defense.known_noise(CUT).std is None
        return

    def sent(smashed: torch.Tensor) -> torch.Tensor:
        at = ClientRound(seed=3, client=1, round=2, tier=1, records=80, classes=5)
        labels = torch.zeros(6, dtype=torch.int64)
        encoded = defense.encode(smashed, at)
        message = SmashedBatch(client=1, round=2, tier=1, batch=0, smashed=encoded, labels=labels)
        return defense.protect_batch(message, at).smashed

    generator = torch.Generator().manual_seed(0)
    for number in range(50):
        first = 3 * torch.randn(6, *CUT.cut_shape, generator=generator, dtype=torch.float64)
        second = first + 10.0 ** (1 - number % 4) * torch.randn(first.shape, generator=generator, dtype=torch.float64)
        assert (sent(first) - sent(second)).norm() <= (first - second).norm() * (1 + 1e-9)


def test_the_noise_that_is_stated_is_the_noise_that_is_added():
    """1,536 normal values: their deviation is within 6 x 1.8 % of the stated one; false alarm 2e-9 each."""
    for text in (NOISE, "information-bottleneck:sigma=0.4", "dp-activations:noise_multiplier=2,clip=3"):
        defense = create("defense", text)
        at = ClientRound(seed=3, client=1, round=2, tier=1, records=80, classes=5)
        encoded = defense.encode(torch.zeros(6, *CUT.cut_shape), at)
        labels = torch.zeros(6, dtype=torch.int64)
        message = SmashedBatch(client=1, round=2, tier=1, batch=0, smashed=encoded, labels=labels)
        noise = defense.protect_batch(message, at).smashed
        assert float(noise.std()) == pytest.approx(defense.known_noise(CUT).std, rel=6 * 0.018)
