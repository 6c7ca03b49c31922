"""U-shaped runs are attacked as SplitFed's are, but that no label is sent, and that what tells them is."""

import shutil
from dataclasses import replace

import pytest
import safetensors.torch
import torch
from attack_reports import of
from fast_attacks import LeastSquares, Unlabelled
from malicious_servers import Doubled

from dtfl_private.attacking.attack_config import AttackConfig
from dtfl_private.attacking.attack_plan import plan_attack
from dtfl_private.attacking.base import AttackFacts
from dtfl_private.attacking.victims.recorded_rounds import latest_recordings
from dtfl_private.attacking.victims.victims import play, victim_tasks
from dtfl_private.attacks.label_clustering import LabelClustering
from dtfl_private.attacks.label_matching import LabelMatching
from dtfl_private.attacks.matching import MembershipMatching
from dtfl_private.attacks.update_inversion import UpdateInversion
from dtfl_private.auditing.audit_config import AuditConfig
from dtfl_private.auditing.audit_plan import plan_audit
from dtfl_private.errors import InputError, RunError
from dtfl_private.runtime.callback import Callback

RECORDED = {"method": "u-shaped", "record_rounds": ["last"], "record_images": 8, "dropout": 0.3}


class DoubledUnlabelled(Doubled):
    facts = AttackFacts(needs=Doubled.facts.needs - {"labels"}, recipe="")


def value(report, source, metric):
    return of(report, metric, source).value


def test_images_are_reconstructed_and_members_and_labels_are_told(trained, mount):
    report = mount(trained(method="u-shaped"), [Unlabelled(), MembershipMatching(), LabelMatching()])
    assert value(report, "unlabelled", "ssim") > value(report, "mean-image", "ssim") + 0.1
    assert value(report, "membership-matching", "auc") > 0.9  # with 8 of each, chance exceeds it once in 700 times
    assert value(report, "label-matching", "accuracy") == 1.0
    # Nobody knows classes: the mean image of a class is that of all.
    assert value(report, "class-mean", "ssim") == pytest.approx(value(report, "mean-image", "ssim"))


def test_what_was_recorded_is_what_is_played_again(trained, opened, mount):
    run = opened(**RECORDED)
    recorded = {one.seen.download.client: one.seen for one in latest_recordings(run)}
    assert set(recorded) == set(run.plan.clients_P.tolist())
    kinds = (("batches", "smashed"), ("outputs", "outputs"), ("tail_gradients", "gradient"), ("replies", "gradient"))
    for seen in play(run, victim_tasks(run, 2, 100, "batches"), run.weights, kind="batches").seen:
        assert not any(batch.labelled for batch in recorded[seen.download.client].batches)
        for kind, field in kinds:
            pairs = zip(getattr(seen, kind), getattr(recorded[seen.download.client], kind), strict=False)
            both = [(getattr(one, field), getattr(other, field)) for one, other in pairs]
            assert both
            assert all(torch.equal(one, other) for one, other in both)
    assert value(mount(trained(**RECORDED), [LabelMatching()]), "label-matching", "accuracy") == 1.0


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("tail-gradient", "outputs or gradients before the last modules"),
        ("labels", "a batch without labels has labels"),
    ],
)
def test_recordings_that_are_not_of_such_a_run_are_refused(trained, mount, tmp_path, name, why):
    folder = tmp_path / "copy"
    shutil.copytree(trained(**RECORDED), folder)
    file = min((folder / "transcript" / "seen").iterdir())
    tensors = safetensors.torch.load_file(file)
    with safetensors.safe_open(file, "pt") as given:
        metadata = given.metadata()
    key = f"batch/0/{name}"
    changed = torch.ones_like(tensors[key]) if name == "labels" else tensors[key][1:].contiguous()
    safetensors.torch.save_file({**tensors, key: changed}, file, metadata)
    with pytest.raises(RunError, match=why):
        mount(folder, [Unlabelled()])


@pytest.mark.parametrize(
    ("attack", "why"),
    [
        (LeastSquares(), r"the labels sent with them .labels., which nobody has in a run of u-shaped"),
        (LabelClustering(), r"the labels sent with them .labels., which nobody has in a run of u-shaped"),
        (UpdateInversion(), r"the labels sent with them .labels., which nobody has in a run of u-shaped"),
    ],
)
def test_attacks_that_need_sent_labels_say_so(trained, mount, attack, why):
    with pytest.raises(InputError, match=why):
        mount(trained(method="u-shaped"), [attack])


def test_elsewhere_no_client_returns_a_gradient(trained, mount):
    with pytest.raises(
        InputError, match=r"the gradients before the clients' last modules .*nobody has in a run of dtfl"
    ):
        mount(trained(method="dtfl"), [LabelMatching()])


def test_no_attack_is_shown_a_label(opened, tmp_path):
    run = opened(method="u-shaped")
    plan = plan_attack(run, AttackConfig(victims=8, seeds=1), [Unlabelled()], tmp_path / "out")
    played = plan.rounds.of(plan.jobs[0], None)
    view = plan.view(plan.jobs[0], 0, played, Callback())
    assert played.victims.labels.any()
    assert not any(batch.labels.any() for seen in view.seen for batch in seen.batches)
    program = view.program(view.seen[0], adaptive=True)
    assert not program.sent_labels(torch.tensor([1, 2])).any()


def test_who_lacks_labels_is_not_shown_those_that_are_sent(opened, tmp_path):
    run = opened(method="splitfed-v1")
    plan = plan_attack(run, AttackConfig(victims=8, seeds=1), [Unlabelled()], tmp_path / "out")
    (job,) = plan.jobs
    played = plan.rounds.of(job, None)
    lacking = replace(job, chosen=replace(job.chosen, adversary=job.chosen.adversary.without(frozenset({"labels"}))))
    for one, shown in ((job, True), (lacking, False)):
        view = plan.view(one, 0, played, Callback())
        for rounds in (view.seen, view.showing(played.victims.seen).seen):
            assert any(batch.labels.any() for seen in rounds for batch in seen.batches) == shown
        assert torch.equal(view.told(torch.tensor([1, 2])), torch.tensor([1, 2]) * shown)


def test_a_malicious_server_sends_other_weights(trained, mount):
    report = mount(trained(method="u-shaped"), [DoubledUnlabelled()])
    assert value(report, "doubled-unlabelled", "weight-jump") > 0.5


def test_audits_infer_labels_from_the_gradients_of_themselves(opened, tmp_path):
    plan = plan_audit(opened(method="u-shaped"), AuditConfig().settled(), None, tmp_path / "audit")
    names = {job.chosen.name for job in plan.jobs}
    assert {"label-matching", "label-inference", "gradient-labels", "decoder", "membership-matching"} <= names
    left_out = {one.attack: one.why for one in plan.attack_plan.left_out}
    assert "which nobody has in a run of u-shaped" in left_out["label-clustering"]
    other = plan_audit(opened(method="splitfed-v1"), AuditConfig().settled(), None, tmp_path / "other")
    assert "label-matching" not in {job.chosen.name for job in other.jobs}
