"""The frame of attacks, with a fast attack of the tests' own: least squares from smashed data to images."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest
import safetensors.torch
import torch
from fast_attacks import SEES, Blind, LeastSquares
from torch import nn

from dtfl_private.attacking import adversary_data as auxiliary
from dtfl_private.attacking import runner as attacking
from dtfl_private.attacking.adversary_data import Knowledge
from dtfl_private.attacking.attack_config import AttackConfig, make_attack_config
from dtfl_private.attacking.base import (
    AttackFacts,
    AttributeInference,
    LabelInference,
    MembershipInference,
    Reconstruction,
    Tampering,
)
from dtfl_private.attacking.replay import open_run
from dtfl_private.attacking.runner import attack
from dtfl_private.attacking.setup import AttackSetup, IndexSets
from dtfl_private.data.dataset import ImageDataset
from dtfl_private.errors import InputError, RunError
from dtfl_private.experiments import train as training
from dtfl_private.experiments.run_objects import RunObjects
from dtfl_private.experiments.train import train
from dtfl_private.experiments.transcripts import recorded_rounds
from dtfl_private.leakage.result import read_results
from dtfl_private.models.cutting.staged import StagedModel
from dtfl_private.plugins.registry import create
from dtfl_private.randomness import isolated
from dtfl_private.runtime.progress import Progress


@pytest.fixture
def mount(objects, tmp_path, monkeypatch) -> Callable[..., Any]:
    """Attack a run without pictures: ``mount(run, attacks, **settings)``."""
    monkeypatch.setattr(attacking, "save_pictures", lambda *_: [])

    def run(folder, attacks, *, out=None, listener=None, defenses=None, **values):
        config = AttackConfig.model_validate({"victims": 8, "seeds": 1, "threads": 1, **values})
        given = {**objects, "defenses": defenses}
        return attack(folder, config, attacks=attacks, out=out or tmp_path / "out", listener=listener, **given)

    return run


def of(report, metric, source="least-squares"):
    (found,) = [result for result in report.results if (result.metric, result.source) == (metric, source)]
    return found


def test_results_have_what_the_interface_promises(trained, mount, tmp_path):
    report = mount(trained(), [LeastSquares()], tiers=[1, 2], seeds=2)
    document = json.loads((tmp_path / "out" / "attack.json").read_text())
    assert {"schema_version", "run", "threat_model", "victims", "aux", "results"} <= document.keys()
    assert document["threat_model"] == ["server-honest-but-curious"]
    keys = {"tier", "cut", "source", "metric", "value", "ci_low", "ci_high", "baseline", "undefended", "n", "seeds"}
    assert all(keys | {"adaptive"} <= result.keys() for result in document["results"])
    assert {result.tier for result in report.results} == {1, 2}
    assert {result.n for result in report.results} == {document["victims"]} == {8}
    assert len(read_results(report.path)) == len(report.results)


def test_a_sharp_attack_beats_the_trivial_guesses_and_a_blind_one_does_not(trained, mount):
    report = mount(trained(), [LeastSquares(), Blind()], tiers=[1], victims=36)
    sharp, blind = of(report, "mse"), of(report, "mse", "blind")
    assert sharp.ci_high < sharp.baseline
    assert blind.ci_high >= blind.baseline
    assert of(report, "psnr", "nearest-auxiliary").value > of(report, "psnr", "mean-image").value


def test_a_second_call_does_not_attack_again(trained, mount):
    first = mount(trained(), [LeastSquares()], tiers=[2])
    kept = Heard()
    second = mount(trained(), [LeastSquares()], tiers=[2], listener=kept)
    assert kept.kept == [True]
    assert [result.model_dump() for result in first.results] == [result.model_dump() for result in second.results]


def test_an_interrupted_attack_goes_on_where_it_was(trained, mount):
    with pytest.raises(KeyboardInterrupt):
        mount(trained(), [LeastSquares()], tiers=[2], seeds=3, listener=Heard(stop_at="least-squares, tier 2, seed 2"))
    again = Heard()
    mount(trained(), [LeastSquares()], tiers=[2], seeds=3, listener=again)
    assert again.kept == [True, True, False]


def test_other_settings_are_another_attack(trained, mount):
    mount(trained(), [LeastSquares()], tiers=[2])
    heard = Heard()
    report = mount(trained(), [LeastSquares(ridge=1.0)], tiers=[2], listener=heard)
    assert heard.kept == [False]
    both = read_results(report.path)
    assert {result.settings["ridge"] for result in both if result.source == "least-squares"} == {1e-3, 1.0}


def test_victims_auxiliary_data_and_non_members_are_disjoint(trained, mount, more_patterns, monkeypatch):
    seen: list[IndexSets] = []
    make = AttackSetup.index_sets
    monkeypatch.setattr(AttackSetup, "index_sets", lambda self, victims: seen.append(make(self, victims)))
    mount(trained(), [LeastSquares()], tiers=[1])
    (sets,) = seen
    records = len(more_patterns.train_labels)
    assert (sets.victims < records).all()
    assert torch.cat([sets.auxiliary, sets.validation, sets.non_members]).min() >= records
    with pytest.raises(ValueError, match="auxiliary and victims share 1 records"):
        IndexSets(
            victims=sets.victims, auxiliary=sets.victims[:1], validation=sets.validation, non_members=sets.non_members
        )


def test_what_is_attacked_is_what_the_run_recorded(trained, mount):
    folder = trained(record_rounds=["last"], record_images=8, scheduler="static:2")
    recorded = mount(folder, [LeastSquares()])
    replayed = mount(folder, [LeastSquares()], replay=True, out=folder / "replayed")
    assert [r.value for r in recorded.results] == [r.value for r in replayed.results]
    with pytest.raises(InputError, match="nobody was in tier 1 in the recorded round: use --replay"):
        mount(folder, [LeastSquares()], tiers=[1])


def test_where_clients_keep_the_whole_network_there_is_nothing_to_attack(trained, mount):
    """In the other tiers of such a run attacks are as in any other."""
    folder = trained(method="dtfl-full", scheduler="static:4")
    with pytest.raises(InputError, match=r"all clients kept the whole network .*, by --tier 1..3 or --tier all"):
        mount(folder, [LeastSquares()])
    with pytest.raises(InputError, match=r"clients in tier 4 keep the whole network.* attack tier 1..3"):
        mount(folder, [LeastSquares()], tiers=[4])
    report = mount(folder, [LeastSquares()], tiers="all")
    assert {result.tier for result in report.results} == {1, 2, 3}
    assert of(mount(folder, [LeastSquares()], tiers=[1]), "mse").value > 0


def test_who_keeps_the_whole_network_is_not_recorded(trained, mount):
    folder = trained(method="dtfl-full", scheduler="random", record_rounds=[1, 2], record_images=8)
    rounds = [json.loads(line)["tiers"] for line in (folder / "rounds.jsonl").read_text().splitlines()]
    cut = {(number, int(k)) for number, of in enumerate(rounds, 1) for k, tier in of.items() if tier < 4}
    assert 0 < len(cut) < 6
    assert set(recorded_rounds(folder / "transcript")) == cut
    report = mount(folder, [LeastSquares()])
    assert {result.tier for result in report.results} == {tier for tier in rounds[-1].values() if tier < 4}


@dataclass(frozen=True, kw_only=True)
class LooksBack(LeastSquares):
    """Least squares that insists on other releases of the victims' records."""

    facts: ClassVar[AttackFacts] = replace(LeastSquares.facts, looks_back=True)

    def reconstruct(self, view):
        assert view.earlier
        return super().reconstruct(view)


def test_attacks_on_several_releases_are_for_tiers_whose_victims_were_sent_before(trained, mount):
    """Clients 0, 1, 2 end in tiers 2, 3, 1; one round earlier they were in 2, 2 and in that of the whole network."""
    folder = trained(method="dtfl-full", scheduler="random", seed=36, rounds=3, record_rounds=[2, 3])
    rounds = [json.loads(line)["tiers"] for line in (folder / "rounds.jsonl").read_text().splitlines()]
    assert rounds[1:] == [{"0": 2, "1": 2, "2": 4}, {"0": 2, "1": 3, "2": 1}]
    with pytest.raises(InputError, match=r"several releases .* of the victims in tier 1 there is one"):
        mount(folder, [LooksBack()])
    for replay in (False, True):  # replayed, the first victims are client 0's in every tier
        report = mount(folder, [LooksBack()], tiers=[2], replay=replay, out=folder / f"replay-{replay}")
        assert {result.tier for result in report.results} == {2}
    left = mount(folder, [LeastSquares(), LooksBack()], where_applicable=True)
    assert [(one.attack, one.tier) for one in left.left_out] == [("looks-back", 1)]
    assert {result.tier for result in left.results if result.source == "looks-back"} == {2, 3}


def test_methods_that_no_attack_can_read_are_not_recorded(tiny_config, objects, tmp_path):
    with pytest.raises(InputError, match="record_rounds keeps what clients of local-loss methods send, method is fed"):
        train(tiny_config(method="fedavg", record_rounds=["last"]), out=tmp_path / "run", **objects)
    assert not (tmp_path / "run").exists()


def test_a_recording_of_another_run_is_refused(trained, mount, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(trained(record_rounds=["last"], scheduler="static:2"), folder)
    (file, *_) = sorted((folder / "transcript" / "seen").iterdir())
    tensors = safetensors.torch.load_file(file)
    tensors["batch/0/smashed"] = tensors["batch/0/smashed"][:, :-1].contiguous()
    with safetensors.safe_open(file, "pt") as opened:
        metadata = opened.metadata()
    safetensors.torch.save_file(tensors, file, metadata)
    with pytest.raises(RunError, match="is not of this run"):
        mount(folder, [LeastSquares()])


def test_only_clients_in_their_own_tiers_if_that_is_asked(trained, mount):
    folder = trained(scheduler="static:2")
    assert {result.tier for result in mount(folder, [LeastSquares()], as_scheduled=True).results} == {2}
    with pytest.raises(InputError, match="nobody was in tier 3 in the last round: leave --as-scheduled out"):
        mount(folder, [LeastSquares()], as_scheduled=True, tiers=[3])


def test_the_undefended_run_stands_beside(trained, mount):
    noise = [create("defense", "laplace-noise:sd=5")]
    folder = trained(defenses=noise)
    heard = Heard()
    report = mount(folder, [LeastSquares()], tiers=[1], undefended="train", defenses=noise, victims=24, listener=heard)
    found = of(report, "psnr")
    assert found.undefended > found.ci_high
    assert of(report, "psnr", "mean-image").undefended == of(report, "psnr", "mean-image").value
    with pytest.raises(InputError, match="is not this run without defenses"):
        mount(folder, [LeastSquares()], tiers=[1], undefended=str(trained(seed=9)), defenses=noise)
    with pytest.raises(InputError, match="has no defenses: leave --undefended out"):
        mount(trained(), [LeastSquares()], undefended="train")


def test_a_blind_eye_to_the_defense_is_recorded_as_such(trained, mount):
    report = mount(trained(), [LeastSquares(adaptive=False)], tiers=[1])
    assert not of(report, "mse").adaptive
    assert "not adaptive make defenses look better" in report.remarks[-1]


def test_auxiliary_knowledge_is_limited_to_what_is_said(trained, mount):
    with pytest.raises(InputError, match=r"auxiliary-data.*--aux architecture"):
        mount(trained(), [LeastSquares()], aux="architecture")
    with pytest.raises(InputError, match="shape"):
        mount(trained(), [LeastSquares()], aux="shifted:digits:size=16")
    with pytest.raises(InputError, match="has 10 classes, object:ImageDataset 3"):
        mount(trained(), [LeastSquares()], aux="shifted:digits:size=8")


@pytest.mark.parametrize("text", ["", "shifted", "shifted:", "same:digits", "all"])
def test_auxiliary_knowledge_is_one_of_four_kinds(text):
    with pytest.raises(InputError, match="is none of same, shifted:DATASET, architecture, none"):
        Knowledge.parse(text)


def test_the_weakest_adversary_that_can_is_taken_and_a_weaker_one_refused(trained, mount):
    assert of(mount(trained(), [LeastSquares()], tiers=[1]), "mse").adversary == "server-honest-but-curious"
    with pytest.raises(InputError, match=r"least-squares needs .*, which curious-client does not have"):
        mount(trained(), [LeastSquares()], adversary="curious-client")
    strong = mount(trained(), [LeastSquares()], tiers=[1], adversary="server-malicious")
    assert of(strong, "mse").adversary == "server-malicious"


@dataclass(frozen=True, kw_only=True)
class Greedy(Reconstruction):
    facts: ClassVar[AttackFacts] = AttackFacts(needs=frozenset({"smashed"}), recipe="takes more than it declares")

    def reconstruct(self, view):
        return view.auxiliary.images[: view.victims]


@dataclass(frozen=True, kw_only=True)
class Misshapen(Blind):
    def reconstruct(self, view):
        return super().reconstruct(view)[:-1]


@dataclass(frozen=True, kw_only=True)
class NotANumber(Blind):
    def reconstruct(self, view):
        return super().reconstruct(view) * float("nan")


def test_an_attack_cannot_take_more_than_the_adversary_has(trained, mount):
    with pytest.raises(InputError, match="greedy needs auxiliary data"):
        mount(trained(), [Greedy()], aux="architecture")


@pytest.mark.parametrize("broken", [Misshapen, NotANumber])
def test_a_guess_that_is_none_ends_the_attack(trained, mount, broken, tmp_path):
    with pytest.raises(RunError, match="expected finite values"):
        mount(trained(), [broken()], tiers=[1])
    assert not (tmp_path / "out" / "attack.json").exists()


@dataclass(frozen=True, kw_only=True)
class Remembers(MembershipInference):
    """Scores candidates by whether their image is among the training images: it is told."""

    facts: ClassVar[AttackFacts] = AttackFacts(needs=frozenset({"final-model"}), recipe="", per_tier=False)

    images: Any = None

    def scores(self, view):
        known = {image.tobytes() for image in self.images.numpy()}
        stored = (view.candidates.images * 255).round().to(torch.uint8)
        return torch.tensor([float(image.tobytes() in known) for image in stored.numpy()])


def test_membership_is_judged_by_who_was_trained_on(trained, mount, patterns):
    report = mount(trained(), [Remembers(images=patterns.train_images)], tiers=[1, 2], victims=24)
    assert of(report, "auc", "remembers").value == 1.0
    assert of(report, "auc", "remembers").adversary in ("curious-client", "model-recipient")


@dataclass(frozen=True, kw_only=True)
class Darkness(AttributeInference):
    facts: ClassVar[AttackFacts] = AttackFacts(needs=SEES, recipe="")

    def values(self, images, labels, auxiliary):
        return (images.flatten(1).mean(dim=1) > 0.5).long()

    def infer(self, view):
        return self.values(LeastSquares().reconstruct(view), torch.empty(0), view.auxiliary)


@dataclass(frozen=True, kw_only=True)
class SentLabels(LabelInference):
    facts: ClassVar[AttackFacts] = AttackFacts(needs=SEES, recipe="")

    def infer(self, view):
        return torch.cat([batch.labels for seen in view.seen for batch in seen.batches])


def test_properties_and_labels_are_judged_by_the_truth(trained, mount):
    report = mount(trained(), [Darkness(), SentLabels()], tiers=[1], victims=24)
    labels = of(report, "accuracy", "sent-labels")
    assert labels.value == labels.baseline == 1.0
    assert of(report, "accuracy", "darkness").value >= of(report, "accuracy", "darkness").baseline


@dataclass(frozen=True, kw_only=True)
class Downgrade(LeastSquares):
    facts: ClassVar[AttackFacts] = AttackFacts(needs=SEES | {"chooses-tier"}, recipe="")

    def tamper(self, view):
        return Tampering(tier=1, weights={})


def test_a_malicious_server_is_played_out_by_the_clients(trained, mount):
    report = mount(trained(), [Downgrade(), LeastSquares()], tiers=[3], victims=24)
    assert of(report, "psnr", "downgrade").value > of(report, "psnr").value
    assert of(report, "psnr", "downgrade").adversary == "server-malicious"
    assert of(report, "refused", "downgrade").value == 0


def test_clients_that_refuse_leave_nothing_to_reconstruct(trained, mount):
    floor = [create("defense", "tier-floor:2")]
    report = mount(trained(defenses=floor), [Downgrade()], tiers=[3], defenses=floor)
    assert of(report, "refused", "downgrade").value == 1
    assert [r for r in report.results if r.metric == "psnr" and r.source == "downgrade"] == []


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"tiers": [9]}, "tier 9 does not exist in this network: its tiers are 1, 2, 3"),
        ({"adversary": "nobody"}, "unknown adversary 'nobody'"),
        ({"aux_images": 3}, "too few"),
    ],
)
def test_wrong_input_is_refused_before_anything_is_written(trained, mount, tmp_path, values, words):
    with pytest.raises(InputError, match=words):
        mount(trained(), [LeastSquares()], **values)
    assert not (tmp_path / "out").exists()


def test_what_is_no_run_is_refused(mount, tmp_path):
    with pytest.raises(InputError, match="is not a run folder"):
        mount(tmp_path, [LeastSquares()])


@pytest.mark.parametrize(
    ("values", "words"), [({"victims": 0}, "victims 0 is refused"), ({"seeds": "x"}, "seeds 'x' is refused")]
)
def test_a_refused_setting_is_one_line(values, words):
    with pytest.raises(InputError, match=words):
        make_attack_config(**values)


@dataclass(frozen=True, kw_only=True)
class Explains(Reconstruction):
    """Keeps how well the client's program explains what was sent: the residual of the best of all training images."""

    facts: ClassVar[AttackFacts] = AttackFacts(needs=SEES, recipe="")

    images: Any = None
    residuals: Any = None

    def reconstruct(self, view):
        program = view.program(view.seen[0], adaptive=True)
        known = program.activations(self.images.float() / 255).flatten(1)
        for record in view.seen[0].batches[0].smashed.flatten(1):
            self.residuals.append(float(((known - record).square().sum(dim=1) / record.square().sum()).min()))
        return torch.zeros(view.victims, *view.input_shape)


@pytest.mark.usefixtures("mount")  # no pictures
def test_who_trains_first_sends_with_trained_weights_and_the_adversary_knows_them(
    tmp_path, more_patterns, tiny_config, monkeypatch
):
    monkeypatch.setattr(training, "plot_training", lambda _, path, *, title: path.write_text(title))
    with isolated(0, "plain network"):
        network = StagedModel(
            [
                ("stem", nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU())),
                ("top", nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))),
            ]
        )
    noisy = create("defense", "dp-weights:noise_multiplier=0.5")
    given = {"dataset": more_patterns, "model": network, "defenses": [noisy]}
    train(tiny_config(rounds=2, scheduler="static:1", lr=0.05), out=tmp_path / "run", **given)
    residuals: list[float] = []
    probe = Explains(images=more_patterns.train_images, residuals=residuals)
    config = AttackConfig(victims=8, seeds=1, threads=1)
    attack(tmp_path / "run", config, attacks=[probe], out=tmp_path / "found", **given)
    # Images are scaled by constants and nothing couples them: under the right weights the residual is rounding.
    assert max(residuals) < 1e-6


def test_auxiliary_data_that_overlap_with_the_clients_lose_what_overlaps(trained, objects, more_patterns, monkeypatch):
    other = ImageDataset(
        name="other",
        source="made up",
        classes=more_patterns.classes,
        train_images=torch.cat([more_patterns.train_images, 255 - more_patterns.train_images]),
        train_labels=torch.cat([more_patterns.train_labels, more_patterns.train_labels]),
        test_images=more_patterns.test_images,
        test_labels=more_patterns.test_labels,
    )
    monkeypatch.setattr(auxiliary, "load_dataset", lambda *_, **__: other)
    split = auxiliary.split_auxiliary(
        open_run(trained(), objects=RunObjects(**objects)), Knowledge.parse("shifted:other"), 1000
    )
    held = {image.tobytes() for image in more_patterns.train_images.numpy()}
    assert split.auxiliary is not None
    mine = torch.cat([split.auxiliary.images, split.auxiliary.validation_images])
    assert len(mine) == len(more_patterns.train_images)
    assert not any(image.tobytes() in held for image in (mine * 255).round().to(torch.uint8).numpy())


def test_labels_alone_do_not_tell_members_from_others(trained, mount, monkeypatch):
    seen = []
    make = AttackSetup.candidates

    def watched(self, victims):
        seen.append(make(self, victims))
        return seen[-1]

    monkeypatch.setattr(AttackSetup, "candidates", watched)
    mount(trained(partition="shards:1"), [LeastSquares()], tiers=[1], victims=8)
    candidates, member = seen[0]
    assert sorted(candidates.labels[member].tolist()) == sorted(candidates.labels[~member].tolist())
    assert member.any()


def test_what_cannot_be_written_down_is_guessed_anew(trained, mount, patterns):
    told = Remembers(images=patterns.train_images)
    heard = Heard()
    for _ in range(2):
        mount(trained(), [told], tiers=[1], victims=8, listener=heard)
    assert heard.kept == [False, False]


class Heard(Progress):
    """A listener that keeps what it hears; ``stop_at`` a job it stops everything."""

    def __init__(self, stop_at: str | None = None) -> None:
        self.kept: list[bool] = []
        self.notes: list[str] = []
        self._stop_at = stop_at

    def job_started(self, job):
        if job == self._stop_at:
            raise KeyboardInterrupt

    def job_finished(self, job, *, cached=False, error=None):
        self.kept.append(cached)

    def note(self, text):
        self.notes.append(text)
