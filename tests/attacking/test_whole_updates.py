"""Runs whose clients train the whole network and send its weight update alone, from training to scores."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from attack_reports import of
from fast_attacks import LeastSquares
from torch import nn

from dtfl_private.attacking.attack_config import AttackConfig
from dtfl_private.attacking.attack_plan import plan_attack
from dtfl_private.attacking.runner import attack
from dtfl_private.attacking.scoring.repetitions import Repetition, in_best_order
from dtfl_private.attacking.victims.replay import open_run
from dtfl_private.attacking.victims.victims import Victims
from dtfl_private.attacks.shared.counted_labels import counted_labels
from dtfl_private.attacks.shared.update_target import UpdateTarget
from dtfl_private.attacks.update_inversion import UpdateInversion
from dtfl_private.data.preprocess import unit
from dtfl_private.errors import InputError
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.run import Run
from dtfl_private.experiments.setup.run_objects import RunObjects
from dtfl_private.experiments.train import train
from dtfl_private.models.cutting.staged import StagedModel
from dtfl_private.protocol.messages import ModelDownload, Seen, WeightUpdate
from dtfl_private.randomness import isolated
from dtfl_private.runtime.callback import Callback
from dtfl_private.training.recording import Recording, Truth

# So many records that the update of one step is of all of them.
ONE_STEP = {"optimizer": "sgd", "lr": 0.05, "batch_size": 64, "max_train_images": 6, "rounds": 1}


@pytest.fixture
def run_of(more_patterns, tmp_path) -> Callable[..., tuple[Run, RunObjects]]:
    """Train a network that forgets no places, as it ends in all pixels, and says all with its weights: no dropout."""

    def make(method: str, images: int, size: int, **changes: Any) -> tuple[Run, RunObjects]:
        with isolated(0, "network"):
            first = nn.Sequential(nn.Conv2d(1, 12, 3, padding=1), nn.Sigmoid())
            model = StagedModel([("md1", first), ("md2", nn.Sequential(nn.Flatten(), nn.Linear(768, 3)))])
        settings = {**ONE_STEP, "max_train_images": images, "batch_size": size, **changes}
        config = TrainConfig(**settings, method=method, clients=2, seed=3, device="cpu", workers=1)
        run = train(config, out=tmp_path / "run", dataset=more_patterns, model=model)
        return run, RunObjects(dataset=more_patterns, model=model)

    return make


@pytest.mark.parametrize(
    ("method", "size", "optimizer", "class_weights"),
    [
        *(("fedavg", 64, "sgd", "none"), ("fedavg", 2, "sgd", "none"), ("fedavg", 64, "adam", "none")),
        *(("fedavg", 2, "adam", "none"), ("fedprox:mu=0.5", 2, "sgd", "none"), ("tifl", 2, "adam", "none")),
        *(("fedyogi", 2, "sgd", "none"), ("fedadam", 64, "sgd", "none")),
        *(("fedavg", 64, "sgd", "balanced"), ("fedavg", 2, "sgd", "balanced")),
    ],
)
def test_the_true_images_and_labels_explain_the_update(method, size, optimizer, class_weights, run_of, tmp_path):
    """In one step and in several, by SGD and Adam, with FedProx's term and whatever the server does with the update."""
    run, objects = run_of(method, 10, size, optimizer=optimizer, class_weights=class_weights)
    plan = plan_attack(open_run(run, objects=objects), AttackConfig(seeds=1), [UpdateInversion()], tmp_path / "out")
    played = plan.rounds.of(plan.jobs[0], None)
    view = plan.view(plan.jobs[0], 0, played, Callback())
    assert view.victims == len(played.victims.records) == sum(update.examples for _, update in view.updates)
    for recording, (seen, update) in zip(played.victims.recordings, view.updates, strict=True):
        assert not seen.batches
        program = view.program(seen, adaptive=True)
        counts = torch.bincount(recording.truth.labels, minlength=3)
        if (size, optimizer) == (64, "sgd"):
            assert torch.equal(counted_labels(view, seen, update, 0.01, adaptive=True), counts)
        target = UpdateTarget.of_whole(program, update, view.local_steps, counts, view.chance())
        assert target.sizes == ([5] if size == 64 else [2, 2, 1])
        assert torch.cat(list(target.labels)).sort().values.equal(recording.truth.labels.sort().values)
        truth = replace(target, labels=torch.split(recording.truth.labels, target.sizes))
        change = truth.retraced(program, torch.split(unit(recording.truth.images), target.sizes)).change
        for name, tensor in target.change.items():
            # Adam takes the sign of slopes that are nothing but rounding.
            wrong = ((change[name].detach() - tensor).abs() > 1e-6 + 1e-3 * tensor.abs()).float().mean()
            assert wrong <= (1e-3 if optimizer == "adam" else 0)


@pytest.mark.usefixtures("without_pictures")
def test_an_image_of_which_a_client_sends_the_update_is_found(run_of):
    """As published, 20 dB and more for an image alone."""
    run, objects = run_of("fedavg", 2, 64)
    report = attack(
        run,
        AttackConfig(victims=2, seeds=1, threads=1),
        attacks=[UpdateInversion(steps=80)],
        dataset=objects.dataset,
        model=objects.model,
    )
    found = of(report, "psnr", source="update-inversion")
    assert found.value > 20
    assert (found.tier, found.cut) == (2, (3,))


def test_other_attacks_say_that_they_are_not_made_for_it(trained, mount):
    folder = trained(method="fedavg", **ONE_STEP)
    with pytest.raises(InputError, match="least-squares is not made for clients that train the whole network"):
        mount(folder, [LeastSquares()])
    with pytest.raises(InputError, match="joint=true needs smashed data, and this run's clients send none"):
        mount(folder, [UpdateInversion(joint=True)])
    with pytest.raises(InputError, match="which is tier 4, and send nothing at tier 1: leave --tier out"):
        mount(folder, [UpdateInversion()], tiers=[1])


def test_the_best_order_is_within_each_client():
    truth = torch.arange(4, dtype=torch.uint8).reshape(4, 1, 1, 1) * 60
    recordings = []
    for client, own in enumerate(truth.split(2)):
        about = {"client": client, "round": 1, "tier": 4, "weights": {}, "head": {}}
        seen = Seen(download=ModelDownload(**about), batches=(), update=WeightUpdate(**about, examples=2))
        known = Truth(images=own, labels=torch.zeros(2, dtype=torch.int64), records=torch.arange(2) + 2 * client)
        recordings.append(Recording(seen=seen, truth=known, remarks=()))
    victims = Victims(recordings=recordings)
    guess = victims.truth[[1, 0, 3, 2]]
    found = in_best_order(Repetition(victims=victims, tampering=None, guess=guess))
    assert torch.equal(found.guess, victims.truth)
    swapped = victims.truth[[2, 3, 0, 1]]
    found = in_best_order(Repetition(victims=victims, tampering=None, guess=swapped))
    assert torch.equal(found.guess, swapped)
