from dataclasses import replace

import pytest
import torch
from torch import Tensor

from dtfl_private.defenses.update_clip import UpdateClip
from dtfl_private.defenses.update_noise import UpdateNoise
from dtfl_private.protection.client_context import ClientRound
from dtfl_private.protocol.messages import ModelDownload, WeightUpdate

OLD = {"conv": torch.ones(3, 4), "running_mean": torch.zeros(4), "running_var": torch.ones(4), "count": torch.tensor(5)}
NEW = {**OLD, "conv": OLD["conv"] + 3, "running_mean": torch.full((4,), 2.0), "count": torch.tensor(9)}
OLD_HEAD, NEW_HEAD = {"fc": torch.zeros(4, dtype=torch.float64)}, {"fc": torch.full((4,), -1.0, dtype=torch.float64)}
# 12 values moved by 3, 4 by 2, 4 by 1: 108 + 16 + 4.
MOVED = 128**0.5

UPDATE = WeightUpdate(client=0, round=1, tier=1, examples=9, weights=NEW, head=NEW_HEAD)


def at() -> ClientRound:
    download = ModelDownload(client=0, round=1, tier=1, weights=OLD, head=OLD_HEAD)
    return ClientRound(seed=0, client=0, round=1, tier=1, records=9, classes=2, download=download)


def distance(update: WeightUpdate) -> float:
    pairs: list[tuple[Tensor, Tensor]] = [(update.weights[name], old) for name, old in OLD.items() if name != "count"]
    pairs.append((update.head["fc"], OLD_HEAD["fc"]))
    return sum(float((new - old).double().square().sum()) for new, old in pairs) ** 0.5


@pytest.mark.parametrize("norm", [0.1, 1.0, 11.3])
def test_the_change_of_weights_buffers_and_head_is_scaled_to_the_norm(norm):
    clipped = UpdateClip(norm=norm).protect_update(UPDATE, at())
    assert distance(clipped) == pytest.approx(norm, rel=1e-5)
    assert torch.allclose(clipped.weights["conv"] - 1, torch.full((3, 4), 3 * norm / MOVED))
    assert torch.allclose(clipped.head["fc"], torch.full((4,), -norm / MOVED).double())
    assert torch.equal(clipped.weights["count"], NEW["count"])


def test_a_change_within_the_norm_is_sent_as_it_is():
    assert UpdateClip(norm=MOVED + 0.01).protect_update(UPDATE, at()) is UPDATE


def test_noise_is_on_every_floating_point_tensor_and_on_no_counter():
    noisy = UpdateNoise(sd=0.1).protect_update(UPDATE, at())
    for name in ("conv", "running_mean", "running_var"):
        assert (noisy.weights[name] != NEW[name]).all()
    assert (noisy.head["fc"] != NEW_HEAD["fc"]).all()
    assert torch.equal(noisy.weights["count"], NEW["count"])


def test_a_variance_never_becomes_negative():
    noisy = UpdateNoise(sd=100).protect_update(UPDATE, at())
    assert (noisy.weights["running_var"] >= 0).all()
    assert (noisy.weights["running_mean"] < 0).any()


@pytest.mark.parametrize("defense", [UpdateClip(), UpdateNoise()])
def test_without_the_download_there_is_no_change_to_speak_of(defense):
    with pytest.raises(ValueError, match=r"needs at\.download"):
        defense.protect_update(UPDATE, replace(at(), download=None))
