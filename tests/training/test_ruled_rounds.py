"""Defenses with rules inside the trainer: what clients send, keep and are charged for in rounds of several tiers."""

import dp_accounting
import numpy as np
import pytest
import torch
from dp_accounting import pld

from dtfl_private import load_run, only_where, train
from dtfl_private.defenses.gaussian_noise import GaussianNoise
from dtfl_private.defenses.label_rr import LabelRr
from dtfl_private.errors import InputError
from dtfl_private.experiments.config.toml_files import read_toml
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.setup.prepare import prepare
from dtfl_private.experiments.setup.run_objects import RunObjects
from dtfl_private.plugins.installed import installed
from dtfl_private.plugins.registry import create
from dtfl_private.protocol.messages import SmashedBatch, Transcript
from dtfl_private.runtime.callback import Callback

PHONES = [
    {"name": "phone", "cpus": 0.5, "up_mbit_s": 10.0, "down_mbit_s": 10.0},
    {"name": "laptop", "cpus": 2.0, "up_mbit_s": 100.0, "down_mbit_s": 100.0},
]
ONE_BATCH = {"model": "resnet-8", "batch_size": 14}
"""Of each client in a round: what releases cost does not depend on the steps between them."""

# Of some defenses the network and the normalisation depend, wherever they act.
SAME_NETWORK = {"norm": "group", "normalization": "constants:mean=0.5,std=0.5"}


def spelled(name: str) -> str:
    """Give a defense settings that suit activations of one pixel."""
    return {"patch-shuffle": "patch-shuffle:1", "batch-patch-shuffle": "batch-patch-shuffle:1"}.get(name, name)


@pytest.fixture
def a_round(patterns, tiny_config, play):
    """Play a round of ResNet-8 in tier 2 under these defenses; return what was sent, and the outcome."""

    def played(*defense, **values):
        method = {"method": "splitfed-v1"} if any("scrutinizer" in text for text in defense) else {}
        config = tiny_config(
            model="resnet-8", defense=list(defense), scheduler="static:m=2", **{**SAME_NETWORK, **method, **values}
        )
        sent = Transcript()
        ((state, outcome),) = play(prepare(config, objects=RunObjects(dataset=patterns)), observers=[sent.record])
        return [message for message in sent.messages if isinstance(message, SmashedBatch)], state, outcome

    return played


BARE: dict[str, object] = {}
"""Rounds without defenses, by the settings: each is compared with those of many defenses."""


def bare_round(a_round, **values):
    key = repr(sorted(values.items()))
    if key not in BARE:
        BARE[key] = a_round(**values)
    return BARE[key]


def same_model(ours, theirs) -> bool:
    pairs = [(tensor, theirs.weights.model[name]) for name, tensor in ours.weights.model.items()]
    return all(torch.equal(mine, other) for mine, other in pairs)


@pytest.mark.parametrize("name", sorted(set(installed("defense")) - {"tier-floor"}))
def test_a_round_where_the_rule_holds_is_that_of_the_defense_and_elsewhere_that_without(a_round, name):
    method = {"method": "splitfed-v1"} if name == "gradient-scrutinizer" else {}
    few = {"clients": 1, "max_train_images": 20, "batch_size": 10}  # two batches
    ruled, plain = a_round(f"{spelled(name)}@tier=2", **few), a_round(spelled(name), **few)
    bare = bare_round(a_round, **few, **method)
    elsewhere = a_round(f"{spelled(name)}@profile=phone", profiles=PHONES[:1], **few) if method else None
    assert same_model(ruled[1], plain[1])
    assert all(torch.equal(one.smashed, other.smashed) for one, other in zip(ruled[0], plain[0], strict=True))
    assert [one for one in ruled[2].privacy if one["epsilon"] is not None] == [
        one for one in plain[2].privacy if one["epsilon"] is not None
    ]
    if elsewhere is not None:  # SplitFed has one tier alone: a rule by tier would act nowhere else
        assert same_model(elsewhere[1], plain[1])
        return
    away = a_round(f"{spelled(name)}@tier=1", **few)
    if create("defense", name).facts.releases_apart:  # with it all clients send apart, when they have trained
        assert len(away[0]) == len(bare[0])
    else:
        assert same_model(away[1], bare[1])
        assert all(torch.equal(one.smashed, other.smashed) for one, other in zip(away[0], bare[0], strict=True))


def test_clients_of_one_tier_differ_by_their_profiles(a_round):
    noisy, _, outcome = a_round("gaussian-noise:sd=8@profile=phone", profiles=PHONES, clients=4)
    bare, _, _ = a_round(profiles=PHONES, clients=4)
    profiles = dict(zip(outcome.plan.clients_P.tolist(), outcome.plan.profile_names_P, strict=True))
    assert sorted(profiles.values()) == ["laptop", "laptop", "phone", "phone"]
    for ours, theirs in zip(noisy, bare, strict=True):
        if ours.batch == 0:  # later ones go back to a network that is the same, too, but on the client alone
            assert torch.equal(ours.smashed, theirs.smashed) == (profiles[ours.client] == "laptop")


@pytest.mark.parametrize(
    ("method", "per_batch"), [("dtfl", 2), ("dtfl-shared:full=false", 2), ("splitfed-v1", 1), ("splitfed-v2", 1)]
)
def test_labels_are_read_by_the_loss_of_the_client_that_sent_them(a_round, monkeypatch, method, per_batch):
    """Randomised response corrects the loss of phones alone: at the client, where it has a loss, and at the server."""
    corrected = []
    loss = LabelRr.classification_loss

    def counted(self, logits, labels):
        corrected.append(len(labels))
        return loss(self, logits, labels)

    monkeypatch.setattr(LabelRr, "classification_loss", counted)
    sent, _, outcome = a_round("label-rr:epsilon=1@profile=phone", method=method, profiles=PHONES, clients=4)
    profiles = dict(zip(outcome.plan.clients_P.tolist(), outcome.plan.profile_names_P, strict=True))
    of_phones = [len(message.labels) for message in sent if profiles[message.client] == "phone"]
    assert 0 < len(of_phones) < len(sent)
    assert sorted(corrected) == sorted(of_phones * per_batch)


def test_the_same_defense_in_two_tiers_draws_a_label_once(patterns, tiny_config, play):
    """Randomised response that was drawn anew in another tier would be charged once, and tell twice."""
    labels = {}
    rules = ["label-rr:epsilon=1@tier=1", "label-rr:epsilon=1@tier=2-3"]
    for tier in (1, 3):
        config = tiny_config(defense=rules, model="resnet-8", scheduler=f"static:m={tier}")
        sent = Transcript()
        play(prepare(config, objects=RunObjects(dataset=patterns)), observers=[sent.record])
        labels[tier] = torch.cat([message.labels for message in sent.messages if isinstance(message, SmashedBatch)])
    assert torch.equal(labels[1], labels[3])


class Interrupt(Callback):
    def __init__(self) -> None:
        self.rounds = 0

    def round_finished(self, record) -> None:
        self.rounds += 1
        if self.rounds == 2:
            raise KeyboardInterrupt


def without_wall_time(records):
    return [{**record, "wall_time_s": 0} for record in records]


def test_a_run_goes_on_exactly_after_an_interruption_and_in_worker_processes(patterns, tiny_config, tmp_path):
    rules = ["weight-jump@tier<=2", "adversarial-decoder@tier=2&profile=phone", "gaussian-noise:sd=2@tier=3"]
    rules += ["gaussian-noise:sd=4@tier=1", "dp-activations:noise_multiplier=3@tier=2-9"]
    values = {"rounds": 3, "seed": 3, "profiles": PHONES, "clients": 4, "drift_share": 0.5, "drift_every": 2}
    config = tiny_config(model="resnet-8", defense=rules, **values)
    whole = train(config, out=tmp_path / "whole", dataset=patterns)
    with pytest.raises(KeyboardInterrupt):
        train(config, out=tmp_path / "cut", dataset=patterns, callbacks=[Interrupt()])
    resumed = train(config, out=tmp_path / "cut", resume=True, dataset=patterns)
    workers = train(config.model_copy(update={"workers": 2}), out=tmp_path / "workers", dataset=patterns)
    expected = without_wall_time(whole.records)
    assert {1, 2, 3} <= {tier for record in expected for tier in record["tiers"].values()}
    for run in (resumed, workers):
        assert without_wall_time(run.records) == expected
        assert run.folder.model.read_bytes() == whole.folder.model.read_bytes()


def test_the_runs_own_configuration_keeps_the_rules_as_they_were_written(patterns, tiny_config, tmp_path):
    config = tiny_config(model="resnet-8", defense=["Gaussian_Noise @ tier >= 1 & tier <= 2"], rounds=1)
    run = train(config, out=tmp_path / "run", dataset=patterns)
    assert config.defense == ["gaussian-noise@tier<=2"]
    own = TrainConfig.model_validate(read_toml(tmp_path / "run" / "config.toml"))
    assert own.defense == run.config.defense == load_run(tmp_path / "run").config.defense
    assert own.defense == ["gaussian-noise:sd=0.1@tier<=2"]


def by_pld(events, delta) -> float:
    accountant = pld.PLDAccountant(value_discretization_interval=1e-4)
    return accountant.compose(dp_accounting.ComposedDpEvent(events)).get_epsilon(delta)


def rounds_in(records, client, tiers) -> int:
    return sum(record["tiers"].get(str(client)) in tiers for record in records)


def test_epsilon_of_smashed_data_over_changes_of_tier_is_that_of_all_releases_together(patterns, tiny_config, tmp_path):
    rules = ["dp-activations:noise_multiplier=6@tier<=2", "dp-activations:noise_multiplier=12@tier>=3"]
    run = train(tiny_config(**ONE_BATCH, defense=rules, rounds=6), out=tmp_path / "run", dataset=patterns)
    (stated,) = [entry for entry in run.records[-1]["privacy"] if entry["what"] == "smashed"]
    # Replacing a record moves a release by twice the clipping norm.
    expected = max(
        by_pld(
            [
                dp_accounting.SelfComposedDpEvent(dp_accounting.GaussianDpEvent(noise), rounds)
                for noise, tiers in ((3.0, {1, 2}), (6.0, {3, 4}))
                if (rounds := rounds_in(run.records, client, tiers))
            ],
            stated["delta"],
        )
        for client in range(3)
    )
    assert {1, 2} & set(run.records[-1]["tiers"].values()) or rounds_in(run.records, 0, {1, 2})
    assert stated["epsilon"] == pytest.approx(expected, abs=0.02)


def test_epsilon_of_weights_over_changes_of_tier_is_that_of_all_steps_together(patterns, tiny_config, tmp_path):
    rules = ["dp-weights:noise_multiplier=3@tier<=2", "dp-weights:noise_multiplier=6@tier>=3"]
    config = tiny_config(model="resnet-8", defense=rules, rounds=4, clients=2, batch_size=5)
    run = train(config, out=tmp_path / "run", dataset=patterns)
    (stated,) = [entry for entry in run.records[-1]["privacy"] if entry["what"] == "weights"]

    def steps(noise, rounds):
        sampled = dp_accounting.PoissonSampledDpEvent(5 / 20, dp_accounting.GaussianDpEvent(noise))
        return [dp_accounting.SelfComposedDpEvent(sampled, 4 * rounds)] if rounds else []

    expected = max(
        by_pld(
            steps(3.0, rounds_in(run.records, client, {1, 2})) + steps(6.0, rounds_in(run.records, client, {3, 4})),
            stated["delta"],
        )
        for client in range(2)
    )
    assert stated["epsilon"] == pytest.approx(expected, abs=0.02)


def test_a_client_that_sent_anything_undefended_has_no_guarantee(patterns, tiny_config, tmp_path):
    """Whatever it sent under the defense, before or after: an epsilon of a part would be read as one of all."""
    rules = ["dp-activations:noise_multiplier=6@tier=1", "label-rr:epsilon=1@tier=1", "fisher-noise@tier=2"]
    run = train(tiny_config(**ONE_BATCH, defense=rules, rounds=5), out=tmp_path / "run", dataset=patterns)
    for number in range(1, 6):
        tiers = {client: {record["tiers"][client] for record in run.records[:number]} for client in "012"}
        away = sum(seen != {1} for seen in tiers.values())
        for entry in run.records[number - 1]["privacy"]:
            if entry["what"] == "labels":
                assert (entry["epsilon"] is None) == (away > 0)
                assert not away or f"so it is for {away} of 3 clients" in entry["sentence"]
            assert entry["epsilon"] is None or entry["per"] is not None
    last = run.records[-1]["privacy"]
    assert any(len({record["tiers"][client] for record in run.records}) > 1 for client in "012")
    assert [entry["epsilon"] for entry in last] == [None] * len(last)
    assert sum("no guarantee (no (epsilon, delta)) over the whole run" in entry["sentence"] for entry in last) == 1
    assert sum("no guarantee (no bound on reconstruction)" in entry["sentence"] for entry in last) == 1


def test_budgets_hold_whatever_tier_comes_next(patterns, tiny_config, tmp_path):
    rules = ["dp-activations:noise_multiplier=6,epsilon=2@tier<=2", "dp-activations:noise_multiplier=12@tier>=3"]
    run = train(tiny_config(**ONE_BATCH, defense=rules, rounds=8), out=tmp_path / "run", dataset=patterns)
    spent = [entry["epsilon"] for record in run.records for entry in record["privacy"] if entry["what"] == "smashed"]
    assert max(spent) <= 2
    assert len(run.records) < 8 or any(record["retired"] for record in run.records)


def test_a_rule_that_holds_nowhere_is_refused_before_anything_is_written(patterns, tiny_config, tmp_path):
    for rule, message in (
        ("tier>=5", r"gaussian-noise@tier>=5 acts nowhere in this run: its tiers are 1\.\.4"),
        ("profile=fone", r"unknown profile .*did you mean 'phone'"),
    ):
        config = tiny_config(model="resnet-8", defense=[f"gaussian-noise@{rule}"], profiles=PHONES)
        with pytest.raises(InputError, match=message):
            train(config, out=tmp_path / "run", dataset=patterns)
    assert not (tmp_path / "run").exists()


def test_objects_take_rules_from_python(patterns, tiny_config, tmp_path):
    named = tiny_config(**ONE_BATCH, defense=["gaussian-noise:sd=8@tier<=2"])
    expected = train(named, out=tmp_path / "named", dataset=patterns)
    defenses = [only_where("tier<=2", GaussianNoise(sd=8.0))]
    run = train(tiny_config(**ONE_BATCH), out=tmp_path / "objects", dataset=patterns, defenses=defenses)
    assert without_wall_time(run.records) == without_wall_time(expected.records)
    assert run.config.defense == ["object:GaussianNoise@tier<=2"]
    assert np.isfinite(run.records[-1]["test_loss"])
