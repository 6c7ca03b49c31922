"""Feature-space hijacking: gradients that a malicious server of SplitFed returns, and what clients then send."""

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from attack_reports import of
from fast_attacks import SEES, LeastSquares

from dtfl_private.attacking.attack_config import AttackConfig
from dtfl_private.attacking.attack_plan import plan_attack
from dtfl_private.attacking.base import AttackFacts, Tampering
from dtfl_private.attacking.victims.tampered_run import tampered_run
from dtfl_private.attacks.hijacking import Hijacker, Hijacking
from dtfl_private.attacks.shared.decoder_training import DecoderTraining
from dtfl_private.attacks.shared.decoders_by_download import trained_decoders
from dtfl_private.attacks.shared.guesses import FIRST
from dtfl_private.attacks.shared.releaser import validation_release
from dtfl_private.defenses.gradient_scrutinizer import GradientScrutinizer
from dtfl_private.errors import InputError
from dtfl_private.experiments.run_folder.folder import RunFolder
from dtfl_private.experiments.run_folder.rounds_file import read_records
from dtfl_private.protocol.adversaries import find_adversary, require
from dtfl_private.runtime.callback import Callback

METHODS = ("splitfed-v1", "splitfed-v2")
FEW = {"pilot_steps": 3, "critic_steps": 1, "size": "small", "decoder_steps": 4, "steps": 2}


@dataclass(frozen=True, kw_only=True)
class Silent(LeastSquares):
    """Returns no gradient at all, for some rounds."""

    facts: ClassVar[AttackFacts] = AttackFacts(needs=SEES | {"chooses-replies"}, recipe="")

    rounds: int = 1

    def tamper(self, view):
        return Tampering(tier=view.tier, weights={}, answer=lambda m: torch.zeros_like(m.smashed), rounds=self.rounds)


def planned(opened, attack, tmp_path):
    plan = plan_attack(opened, AttackConfig(victims=8, seeds=1, replay=True), [attack], tmp_path / "out")
    (job,) = plan.jobs
    return plan, job, attack.tamper(plan.view(job, 0, None, Callback()))


@pytest.mark.parametrize("method", METHODS)
def test_what_is_returned_is_all_that_trains_the_clients(method, opened, tmp_path):
    run = opened(method=method)
    for attack, moves in ((Silent(rounds=2), False), (Hijacking(rounds=2, **FEW), True)):
        plan, job, tampering = planned(run, attack, tmp_path)
        last = tampered_run(run, tampering)
        assert last.plan.round == run.plan.round + 1
        before, after = run.before.weights.model, last.before.weights.model
        parameters = [name for name, _ in run.prepared.worker.model.named_parameters()]
        own = [name for name in parameters if name in plan.view(job, 0, None, Callback()).download(2).weights]
        assert any(not torch.equal(before[name], after[name]) for name in own) == moves
        # The server's own half rests.
        assert all(torch.equal(before[name], after[name]) for name in parameters if name not in own)


def test_the_critic_pulls_smashed_data_towards_the_pilots(opened, tmp_path):
    """Steps along what is returned alone bring free activations nearer to those of the pilot."""
    run = opened(method="splitfed-v1")
    plan, job, tampering = planned(run, Hijacking(pilot_steps=10), tmp_path)
    hijacker = tampering.answer
    assert isinstance(hijacker, Hijacker)
    (message, *_) = plan.rounds.of(job, None).victims.seen[0].batches
    piloted = torch.cat([hijacker.pilot.encoded()[0] for _ in range(4)]).mean(dim=0)
    smashed = piloted + 3 * torch.ones_like(message.smashed)
    start = float((smashed.mean(dim=0) - piloted).norm())
    for _ in range(30):
        gradient = hijacker(replace(message, smashed=smashed))
        smashed = smashed - 0.05 * start * gradient / gradient.norm()
    assert float((smashed.mean(dim=0) - piloted).norm()) < 0.7 * start


@pytest.mark.parametrize("method", METHODS)
def test_hijacked_clients_are_attacked_and_judged(method, trained, mount):
    report = mount(trained(method=method), [Hijacking(rounds=2, **FEW)])
    assert {result.metric for result in report.results} >= {"psnr", "ssim", "weight-jump", "remarked", "refused"}
    assert of(report, "weight-jump", "hijacking").value > 0
    if method == METHODS[0]:
        again = mount(trained(method=method), [Hijacking(rounds=2, **FEW)])
        assert of(again, "psnr", "hijacking").value == of(report, "psnr", "hijacking").value


def hijacked(opened, attack, tmp_path):
    """Return what an attack sees of hijacked clients."""
    plan, job, tampering = planned(opened(method="splitfed-v1"), attack, tmp_path)
    return plan.view(job, 0, plan.rounds.of(job, tampering), Callback())


@pytest.mark.parametrize("hold", [True, False])
def test_in_the_attacked_round_clients_are_held_where_they_are(hold, opened, tmp_path):
    """Then their last batch too comes from the weights that they were sent, which the adversary knows."""
    attack = Hijacking(rounds=2, hold=hold, **FEW)
    run = opened(method="splitfed-v1")
    config = AttackConfig(victims=1000, seeds=1, replay=True)
    plan = plan_attack(run, config, [attack], tmp_path / "out")
    (job,) = plan.jobs
    victims = plan.rounds.of(job, attack.tamper(plan.view(job, 0, None, Callback()))).victims
    recording = victims.recordings[0]
    batch = recording.seen.batches[-1]
    assert batch.batch > 0
    program = plan.view(job, 0, plan.rounds.of(job, None), Callback()).program(recording.seen, adaptive=True)
    images = victims.truth[: recording.seen.records][-len(batch.labels) :]
    again = program.release(images, batch.labels, batch.batch)
    assert torch.allclose(again, batch.smashed.float(), rtol=1e-3, atol=1e-4) == hold


def networks_alone(monkeypatch):
    """Let no trivial guess take a network's place: images this small, and few, are hard to beat it on."""
    monkeypatch.setattr("dtfl_private.attacks.shared.decoders_by_download.better_guess", lambda *_: None)


def test_the_better_of_two_decoders_on_validation_images_is_taken(opened, tmp_path, monkeypatch):
    """So it is never worse there than the passive decoder of the weights that the hijacked clients began with."""
    networks_alone(monkeypatch)
    attack = Hijacking(rounds=2, **FEW)
    view = hijacked(opened, attack, tmp_path)
    (pilots,) = attack.rivals(view)
    seen, short, long = view.seen[0], *(DecoderTraining(size="small", steps=steps) for steps in (1, 30))
    good = trained_decoders(view, long).of(seen)._network
    released = validation_release(view, seen, True, 4)

    def decoded(training, *rivals):
        decoder = trained_decoders(view, training, rivals).of(seen)
        return torch.cat([decoder.decode(smashed, labels) for smashed, labels, *_ in released])

    best, poor = decoded(long), decoded(short)
    images = torch.cat([sent.images for sent in released])
    assert (best - images).square().mean() < (poor - images).square().mean()
    # The pilot's decoder, of three steps, changes nothing; a good one takes the place of a poor one.
    assert torch.equal(decoded(long, pilots), best)
    assert torch.equal(decoded(short, pilots, good), best)


def test_guesses_begin_at_the_decoder_that_is_taken(opened, tmp_path, monkeypatch):
    """Where nothing that a search finds serves better, they are that decoder's images: here those of the better one."""
    networks_alone(monkeypatch)
    attack = Hijacking(rounds=2, **{**FEW, "decoder_steps": 1})
    view = hijacked(opened, attack, tmp_path)
    good = trained_decoders(view, DecoderTraining(size="small", steps=30)).of(view.seen[0])
    hijacker = view.answer
    assert isinstance(hijacker, Hijacker)
    hijacker.pilot.decoder = good._network
    monkeypatch.setattr("dtfl_private.attacks.hybrid.best_rule", lambda *_: FIRST)
    wanted = [good.decode(batch.smashed, batch.labels) for seen in view.seen for batch in seen.batches]
    assert torch.equal(attack.reconstruct(view), torch.cat(wanted))


@pytest.mark.parametrize("method", METHODS)
def test_the_guard_notices_hijacking_and_no_honest_server(method, trained, mount):
    guards = [GradientScrutinizer(batches=3, action="refuse")]
    folder = trained(method=method, rounds=3, defenses=guards)
    assert not [said for record in read_records(RunFolder(path=folder))[0] for said in record["guard"]]
    report = mount(folder, [Hijacking(rounds=2, **FEW)], defenses=guards)
    assert of(report, "refused", "hijacking").value == 1.0


def test_where_no_gradient_goes_back_it_is_refused_in_one_line(trained, mount):
    with pytest.raises(InputError, match=r"\(chooses-replies\), which nobody has in a run of dtfl: leave it out"):
        mount(trained(), [Hijacking()])
    with pytest.raises(InputError, match=r"chooses-replies.*use --adversary server-malicious"):
        require(Hijacking.facts.needs, find_adversary("server-honest-but-curious"), "same", "it")
