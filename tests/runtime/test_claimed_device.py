"""Trainings, attacks and audits on a device that is not the CPU, on machines that have none: see claimed_device.py.

The device computes by the CPU's kernels, so that what is left behind must be the CPU's, bit for bit.
"""

import pytest
import torch
from claimed_device import DEVICE, OtherDeviceError, claimed_device
from torch import nn

from dtfl_private import AttackConfig, attack, train
from dtfl_private.attacks.shared import decoder_training, posterior_mean
from dtfl_private.leakage import classifier


@pytest.fixture
def there():
    with claimed_device():
        yield


@pytest.mark.usefixtures("there")
class TestRules:
    """The device refuses what a real one refuses, and nothing else."""

    def test_operands_lie_on_one_device(self):
        here, far = torch.ones(3), torch.ones(3, device=DEVICE)
        for mixed in (lambda: here + far, lambda: torch.cat([here, far]), lambda: far.add_(here), lambda: far @ here):
            with pytest.raises(OtherDeviceError, match="takes tensors on the CPU and on lazy:0"):
                mixed()
        assert (far + torch.tensor(2.0)).cpu().tolist() == [3, 3, 3]  # numbers may come from the CPU
        with pytest.raises(OtherDeviceError):
            torch.stack([far.sum(), torch.tensor(2.0)])

    def test_indices_may_come_from_the_cpu_but_not_go_there(self):
        here, far, index = torch.arange(3), torch.arange(3, device=DEVICE), torch.tensor([2, 0])
        assert far[index].cpu().tolist() == [2, 0]
        far[index] = torch.tensor([7, 8]).to(DEVICE)
        assert far.cpu().tolist() == [8, 1, 7]
        with pytest.raises(OtherDeviceError, match="takes indices on lazy:0"):
            here[index.to(DEVICE)]

    def test_generators_lie_where_numbers_are_drawn(self):
        far = torch.Generator(DEVICE).manual_seed(3)
        assert (far.device, torch.Generator().device.type) == (DEVICE, "cpu")
        drawn = torch.rand(2, generator=far, device=far.device)
        assert drawn.device == DEVICE
        assert torch.equal(drawn.cpu(), torch.rand(2, generator=torch.Generator().manual_seed(3)))
        with pytest.raises(OtherDeviceError, match="rand on the CPU draws from a generator on lazy:0"):
            torch.rand(2, generator=far)
        with pytest.raises(OtherDeviceError, match="draws from a generator on the CPU"):
            torch.rand(2, generator=torch.Generator(), device=DEVICE)

    def test_there_is_no_way_to_numpy_but_by_the_cpu(self):
        with pytest.raises(RuntimeError, match=r"\.numpy\(\) is not supported"):
            torch.ones(2, device=DEVICE).numpy()

    def test_networks_train_as_on_the_cpu(self):
        def trained(device):
            torch.manual_seed(0)
            network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(18, 2))
            network.to(device)
            optimizer = torch.optim.Adam(network.parameters(), fused=True)
            network(torch.rand(4, 1, 5, 5).to(device)).square().sum().backward()
            optimizer.step()
            assert {parameter.device.type for parameter in network.parameters()} == {torch.device(device).type}
            return {name: tensor.cpu() for name, tensor in network.state_dict().items()}

        here, far = trained("cpu"), trained(DEVICE)
        assert all(torch.equal(here[name], far[name]) for name in here)


@pytest.fixture
def left_by(tiny_config, objects, tmp_path):
    """Train a tiny run on one of the devices and return its records and weights: ``left_by("cpu", **settings)``."""

    def run(device, **values):
        few = {"clients": 2, "rounds": 1, "batch_size": 10, "memory_format": "contiguous"}
        config = tiny_config(**{**few, **values, "device": device})
        given = dict(objects) if "model" not in values else {"dataset": objects["dataset"]}
        done = train(config, out=tmp_path / f"{device}-run", **given)
        records = [{**record, "wall_time_s": None} for record in done.records]
        return records, done.folder.model.read_bytes().partition(b"}}")[2], done.config.device

    return run


def same_on_both(left_by, **values):
    here = left_by("cpu", **values)
    with claimed_device():
        far = left_by("auto", **values)
    assert (here[2], far[2]) == ("cpu", "cuda")
    assert far[:2] == here[:2]


@pytest.mark.parametrize(
    ("method", "rounds"), [("dtfl-full", 1), ("dtfl-shared", 1), ("splitfed-v2", 1), ("fedgkt", 2)]
)
def test_methods_train_on_a_device(left_by, method, rounds):
    """FedGKT's clients learn of the server from their second round on."""
    same_on_both(left_by, method=method, rounds=rounds, augment=["crop", "flip", "cutout"])


CHAINS = {
    "noise": ["gaussian-noise:sd=0.1", "laplace-noise", "dropout", "information-bottleneck", "quantize"],
    "shuffles": ["channel-shuffle", "patch-shuffle", "token-shuffle", "batch-patch-shuffle", "distance-correlation"],
    "updates": ["adversarial-decoder", "top-k", "label-rr", "update-clip", "update-noise", "weight-jump"],
    "dp-weights": ["dp-weights"],
    "dp-activations": ["dp-activations"],
    "fisher": ["fisher-noise"],
}


@pytest.mark.parametrize("chain", CHAINS)
def test_defenses_act_on_a_device(left_by, chain):
    grouped = {"model": "resnet-8", "norm": "group"} if chain in {"dp-weights", "dp-activations", "fisher"} else {}
    same_on_both(left_by, defense=CHAINS[chain], **grouped)


def test_an_attack_computes_on_a_device(tiny_config, objects, tmp_path, monkeypatch):
    """One that is trained and one that searches, on a run of the device with a defense of either kind of message."""
    monkeypatch.setattr(decoder_training, "has_fast_bfloat16", lambda _: False)
    monkeypatch.setattr(classifier, "EPOCHS", 2)  # of what judges the guesses
    monkeypatch.setattr(posterior_mean, "MOST_IMAGES", 304)  # with fewer it would not be there
    few = {"tiers": (2,), "victims": 4, "aux_images": 20, "seeds": 1, "effort": "quick"}
    attacks = ("decoder:size=small,steps=2,varied=false", "optimization:steps=2,smoothness=0.01,lr=0.1")

    def found(device):
        settings = {"rounds": 1, "memory_format": "contiguous", "defense": ["gaussian-noise:sd=0.1", "update-noise"]}
        run = train(tiny_config(**settings, device=device), out=tmp_path / f"{device}-run", **objects)
        return attack(
            run, AttackConfig.model_validate({"attacks": attacks, **few, "device": device}), **objects
        ).results

    here = found("cpu")
    with claimed_device():
        assert found("auto") == here
