"""FedGKT's runs: features, logits and labels are seen, client networks never are."""

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from attack_reports import of
from fast_attacks import SEES, LeastSquares

from dtfl_private.attacking.attack_config import AttackConfig
from dtfl_private.attacking.attack_jobs import default_attacks
from dtfl_private.attacking.attack_plan import plan_attack
from dtfl_private.attacking.base import AttackFacts
from dtfl_private.attacking.knowledge.adversary_data import Knowledge
from dtfl_private.attacking.runner import attack as mounted
from dtfl_private.attacking.victims.recorded_rounds import latest_recordings
from dtfl_private.attacking.victims.replay import OpenedRun, open_run
from dtfl_private.attacking.victims.victims import play, victim_tasks
from dtfl_private.attacks.membership_surrogate import MembershipSurrogate
from dtfl_private.attacks.surrogate import Surrogate, seen_with
from dtfl_private.errors import InputError
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.train import train
from dtfl_private.protocol.messages import LogitBatch, SmashedBatch, Transcript, below
from dtfl_private.runtime.callback import Callback
from dtfl_private.training.recording import Recorder

QUICK = Surrogate(shadows=2, size="small", decoder_steps=30, refining_steps=5)
# Where nothing is asked of what it finds.
HASTY = replace(QUICK, shadows=1, decoder_steps=3, refining_steps=1)


@pytest.mark.parametrize("dropout", [0.0, 0.6])
def test_a_round_is_recorded_as_it_was(dropout, prepare_tiny, play):
    transcript = Transcript()
    prepared = prepare_tiny(method="fedgkt", augment=["flip"], local_epochs=2, dropout=dropout, seed=3)
    (before, _), (_, outcome) = play(prepared, rounds=2, observers=[transcript.record])
    recorder = Recorder(prepared.worker, sends_weights=False)
    tasks = prepared.method.tasks(outcome.plan, before)
    assert any(not task.completes for task in tasks) == bool(dropout)
    for task in tasks:
        sent = [m for m in transcript.messages if (getattr(m, "round", None), m.client) == (2, task.client)]
        recording = recorder.record(task, before.weights, batches=2, whole=False)
        seen = recording.seen
        for recorded, kind, field in (
            (seen.batches, SmashedBatch, "smashed"),
            (seen.batches, SmashedBatch, "labels"),
            (seen.logits, LogitBatch, "logits"),
        ):
            originals = [message for message in sent if isinstance(message, kind)][:2]
            assert len(recorded) == len(originals) == (2 if task.completes else 0)
            for one, other in zip(recorded, originals, strict=True):
                assert torch.equal(getattr(one, field), getattr(other, field))
        assert seen.download.weights == seen.download.head == {}
        assert seen.update is None
        assert torch.equal(
            recording.truth.labels, torch.cat([*[b.labels for b in seen.batches], torch.empty(0)]).long()
        )


def test_attacks_that_need_weights_are_refused_and_the_default_is_one_that_does_not(trained, mount, opened):
    folder = trained(method="fedgkt")
    with pytest.raises(InputError, match=r"\(client-weights\), which nobody has in a run of fedgkt: leave it out"):
        mount(folder, [LeastSquares()])
    with pytest.raises(InputError, match=r"\(final-model\), which nobody has in a run of fedgkt"):
        mount(folder, [_Recipient()])
    report = mount(folder, [HASTY, LeastSquares()], where_applicable=True)
    assert {one.attack for one in report.left_out} == {"least-squares"}
    assert of(report, "ssim", source="surrogate").tier == 2
    same = Knowledge.parse("same")
    names = [default_attacks(opened(method=name), same) for name in ("dtfl", "splitfed-v1", "fedgkt", "fedavg")]
    assert names == [("hybrid",), ("hybrid",), ("surrogate",), ("update-inversion",)]


@dataclass(frozen=True, kw_only=True)
class _Recipient(LeastSquares):
    facts: ClassVar[AttackFacts] = AttackFacts(needs=(SEES - {"client-weights"}) | {"final-model"}, recipe="")


@pytest.fixture(scope="module")
def digits_run(tmp_path_factory) -> OpenedRun:
    """Four rounds of two clients with 160 digits of 8x8 pixels; the adversary's are of the same kind."""
    settings = {"dataset": "digits:size=8", "model": "resnet-8", "method": "fedgkt", "max_train_images": 160}
    settings |= {"clients": 2, "rounds": 4, "batch_size": 16, "device": "cpu", "workers": 1}
    config = TrainConfig.model_validate(settings)
    return open_run(train(config, out=tmp_path_factory.mktemp("gkt") / "run"))


def looked_at(opened, attack, out, **values):
    """Return what an attack sees in its first repetition, and the truth."""
    config = AttackConfig.model_validate({"victims": 32, "seeds": 1, "aux_images": 90, **values})
    plan = plan_attack(opened, config, [attack], out)
    played = plan.rounds.of(plan.jobs[0], None)
    return plan.view(plan.jobs[0], 0, played, Callback()), played.victims


def test_a_shadow_of_the_known_beginning_comes_near_to_the_client(digits_run, opened, tmp_path):
    view, victims = looked_at(digits_run, QUICK, tmp_path)
    own = view.batches[0]
    client, sent = own[0].client, own[0].smashed
    beginning = view.beginning(client)
    initial = digits_run.prepared.initial.weights.model
    assert all(torch.equal(tensor, initial[name]) for name, tensor in beginning.download.weights.items())
    assert beginning.steps == 4 * 5

    def error(download):
        mine = view.with_own_weights("test", [seen_with(download, own)])
        made = mine.program(mine.seen[0], adaptive=True).activations(victims.truth[: len(sent)])
        return float((made - sent).norm() / sent.norm())

    assert error(beginning.download) > 0.6
    few = replace(QUICK, refining_steps=0)
    # 0.42 with the statistics of batch norm alone, 0.34 with the training too.
    assert max(map(error, few.shadows_of(view, own))) < 0.38
    true = below("net/", below(f"client/{client}/", digits_run.after.extras))
    assert error(replace(beginning.download, weights=true)) < 1e-5
    with pytest.raises(InputError, match="client-weights"):
        view.program(view._evidence.round.seen[0], adaptive=True)
    assert looked_at(opened(), QUICK, tmp_path / "dtfl", tiers=(2,), victims=4)[0].beginning(0) is None


def test_members_are_told_from_others_through_shadows(digits_run):
    attack = MembershipSurrogate(shadows=2, refining_steps=0)
    report = mounted(digits_run.folder, AttackConfig(victims=16, seeds=1, aux_images=150), attacks=[attack])
    # 16 members and as many others: by chance alone it is above 0.75 once in 120 times, and the seed is fixed.
    assert of(report, "auc", source="membership-surrogate").value > 0.75


def test_recorded_rounds_are_attacked(trained, opened, mount):
    values = {"method": "fedgkt", "record_rounds": ["last"]}
    run = opened(**values)
    recorded = {one.seen.download.client: one.seen for one in latest_recordings(run)}
    for seen in play(run, victim_tasks(run, 2, 100, "batches"), run.weights, kind="batches").seen:
        other = recorded[seen.download.client]
        assert len(seen.logits) == len(seen.batches) > 0
        assert torch.equal(seen.logits[0].logits, other.logits[0].logits)
        assert torch.equal(seen.batches[0].smashed, other.batches[0].smashed)
    assert mount(trained(**values), [HASTY]).results
