"""Membership, words and labels of texts: attacks on tiny runs, scored beside what shows without an attack."""

import pytest
import text_runs
from attack_reports import of
from text_runs import words

from dtfl_private import train
from dtfl_private.attacking.attack_config import make_attack_config
from dtfl_private.attacking.runner import attack
from dtfl_private.errors import InputError
from dtfl_private.experiments.config.train_config import TrainConfig


def mounted(run, out, *attacks, **values):
    config = make_attack_config(**{"victims": 16, "seeds": 1, "threads": 1, "effort": "quick", **values})
    return attack(run, config, attacks=attacks, out=out, dataset=words())


@pytest.fixture(scope="module")
def trained_on_texts(tmp_path_factory):
    """Train a tiny run on texts with these settings."""

    def run(**changes):
        config = TrainConfig.model_validate(text_runs.settings(**changes))
        return train(config, out=tmp_path_factory.mktemp("texts") / "run", dataset=words()).folder

    return run


@pytest.fixture(scope="module")
def inferred(text_run, tmp_path_factory):
    named = ("membership-matching", "token-occurrence", "lira:shadows=4", "update-membership:shadows=20")
    return mounted(text_run, tmp_path_factory.mktemp("inferred"), *named, tiers=(1,))


def test_members_among_texts_are_told_by_what_was_sent(inferred):
    # With at most 16 of each, chance exceeds 0.9 less than once in 10,000 times.
    assert of(inferred, "auc", "membership-matching").value > 0.9


@pytest.mark.parametrize("name", ["lira", "update-membership"])
def test_attacks_on_models_and_updates_score_every_candidate(inferred, name):
    found = of(inferred, "auc", name)
    assert 0 <= found.value <= 1
    assert found.n >= 14  # of each; fewer than 16 where a class has no more


def test_whether_a_word_occurs_is_compared_with_what_label_and_length_tell(inferred):
    found = of(inferred, "accuracy", "token-occurrence")
    assert found.value == 1.0  # each place shows at tier 1
    assert found.baseline is not None
    assert found.baseline < 1
    assert found.baseline_name in {"majority", "label-prior", "label-and-length"}
    assert not [one for one in inferred.results if one.metric == "accuracy-of-raw-pixels"]


def test_protected_labels_of_texts_are_inferred(trained_on_texts, tmp_path):
    run = trained_on_texts(defense=["label-rr:epsilon=1"])
    report = mounted(run, tmp_path, "label-inference", "label-clustering", tiers=(1,))
    for name in ("label-inference", "label-clustering"):
        assert of(report, "accuracy", name).baseline_name in {"sent-label", "majority"}
    # The verb is the label, and shows.
    assert of(report, "accuracy", "label-inference").value > 0.85


@pytest.mark.parametrize(
    ("method", "name"), [("splitfed-v1", "gradient-labels"), ("u-shaped", "label-matching"), ("fedavg", "label-counts")]
)
def test_labels_of_texts_are_told_by_what_other_methods_send(trained_on_texts, tmp_path, monkeypatch, method, name):
    monkeypatch.setattr("dtfl_private.attacks.gradient_labels.LEARNT_FROM", 200)
    monkeypatch.setattr("dtfl_private.attacks.gradient_labels.CHOSEN_BY", 40)
    changes = {} if method == "fedavg" else {"scheduler": "static:2"}
    defense = ["label-rr:epsilon=3"] if method == "splitfed-v1" else []
    if name == "label-counts":  # learns from as many simulated rounds as there are
        monkeypatch.setattr("dtfl_private.attacks.shared.learnt_shares.FEWEST", 8)
        monkeypatch.setattr("dtfl_private.attacks.shared.learnt_shares.SIMULATED", 8)
    report = mounted(trained_on_texts(method=method, defense=defense, **changes), tmp_path, name)
    found = of(report, "accuracy", name)
    assert found.n >= 16
    if name == "label-matching":
        assert found.value == 1.0


@pytest.mark.parametrize("name", ["membership-surrogate", "attribute-inference", "update-attributes"])
def test_what_is_made_for_images_alone_is_refused_in_one_line(text_run, tmp_path, name):
    with pytest.raises(InputError, match=rf"^{name} attacks images; this run's inputs are sequences of tokens$"):
        mounted(text_run, tmp_path, name)


def test_a_token_that_does_not_occur_in_texts_is_refused(text_run, tmp_path):
    with pytest.raises(Exception, match=r"token-occurrence: token=999 is none of the tokens 0\.\.\d+ that occur"):
        mounted(text_run, tmp_path, "token-occurrence:token=999", tiers=(1,))
