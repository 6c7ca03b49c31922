"""What methods leak by their audits: at which tier, what is sent, and when they are not compared on equal terms."""

import json

import pytest

from dtfl_private.experiments.comparing.compare import compare
from dtfl_private.report.comparison.document import as_json
from dtfl_private.report.comparison.exposure import reached
from dtfl_private.verdicts.findings import Convergence, Guaranteed
from dtfl_private.verdicts.findings_file import findings_document

IN_CLEAR = Guaranteed(
    what="labels", epsilon=None, delta=None, per=None, client=None, sentence="smashed data and labels are sent in clear"
)
RISING = Convergence(
    tier=2,
    attack="hybrid",
    metric="ssim",
    value=0.5,
    doubled=0.6,
    margin=0.02,
    converged=False,
    remedy="--effort normal",
)


@pytest.fixture
def audited(write_run, findings_of, figure, tmp_path):
    """Write a run that ends at an accuracy, with its audit: ``audited("fedavg", 0.5, strongest=...)``.

    Clients were in tiers 1 and 2; tier 3 was audited too.
    """

    def written(method, accuracy=0.5, sent=None, seed=0, **values):
        path = write_run(tmp_path / f"{method}-{seed}", [0.4, accuracy], target_accuracy=0.45, method=method, seed=seed)
        if sent is not None:
            lines = [json.loads(line) for line in (path / "rounds.jsonl").read_text().splitlines()]
            texts = [json.dumps({**line, "bytes": sent}) for line in lines]
            (path / "rounds.jsonl").write_text("\n".join(texts) + "\n")
        strongest = (
            *(figure(1, 0.9, baseline=0.3), figure(2, 0.6), figure(3, 0.99)),
            *(figure(1, 0.4, metric="identifiability"), figure(2, 0.7, metric="identifiability", source="hybrid")),
            figure(2, 0.8, metric="auc", source="membership-matching"),
        )
        training = {"dataset": "digits", "model": "resnet-8", "scheduler": "dynamic", "clients": 10, "rounds": 2}
        said = {"method": method, "test_accuracy": accuracy, "seed": seed, "strongest": strongest, **training, **values}
        (path / "audit").mkdir()
        (path / "audit" / "audit.json").write_bytes(findings_document(findings_of(**said)))
        return path

    return written


def groups_of(comparison):
    return {group.name: group for group in comparison.settings[0].groups}


def test_each_goal_counts_at_the_most_exposed_tier_that_clients_were_in(audited):
    found = groups_of(compare([audited("dtfl", guarantees=(IN_CLEAR,))]))["dtfl"].exposures
    ssim, told_apart, membership = (reached(found, name) for name in ("ssim", "identifiability", "auc"))
    assert (ssim.value, ssim.low, ssim.guess, list(ssim.tiers)) == (0.9, pytest.approx(0.88), 0.3, [1])
    assert (told_apart.value, list(told_apart.tiers), list(told_apart.attacks)) == (0.7, [2], ["hybrid"])
    assert (membership.value, membership.guess) == (0.8, None)
    assert found[0].sent == ["weights", "smashed data", "labels"]
    assert found[0].labels_in_clear


def test_what_a_method_sends_is_what_its_rounds_count(audited, figure):
    attack = figure(1, 0.95, source="label-inference", metric="accuracy", baseline=0.2)
    other = figure(1, 0.99, source="attribute-inference", metric="accuracy")
    sent = {"down_weights": 1, "up_weights": 1, "up_smashed": 0, "up_labels": 0, "up_logits": 0}
    (found,) = groups_of(compare([audited("fedavg", sent=sent, results=(attack, other))]))["fedavg"].exposures
    assert found.sent == ["weights"]
    assert not found.labels_in_clear
    assert (found.labels.source, found.labels.value) == ("label-inference", 0.95)


def test_several_runs_are_a_mean_with_an_interval_that_contains_each_of_theirs(audited, figure):
    paths = [audited("dtfl", seed=0), audited("dtfl", seed=1, strongest=(figure(2, 0.5, baseline=0.1),))]
    told = as_json(compare(paths))["methods"][0]["exposure"]
    assert told["goals"]["ssim"] == {
        "value": pytest.approx(0.7),
        "ci_low": pytest.approx(0.48),
        "ci_high": pytest.approx(0.92),
        "baseline": pytest.approx(0.2),
        "tiers": [1, 2],
        "attacks": ["decoder"],
    }
    assert told["goals"]["auc"] is None  # of one run it is not known
    assert told["audited"] == 2


def test_unequal_accuracies_and_audits_are_warned_of_and_equal_ones_are_not(audited):
    near = compare([audited("dtfl", 0.5), audited("fedavg", 0.515)])
    assert not any("WARNING" in note for note in near.notes)


def test_accuracies_further_apart_than_the_margin_are_warned_of_by_name(audited):
    (warning,) = compare([audited("dtfl", 0.5), audited("fedavg", 0.53)]).notes
    assert warning.startswith("WARNING: leakage is not compared at equal accuracy: audited runs of fedavg have 0.5300")
    assert "those of dtfl 0.5000, which is 0.0300 apart and more than 0.02" in warning


def test_audits_on_other_terms_and_attacks_that_have_not_converged_are_named(audited):
    notes = compare([audited("dtfl", victims=64), audited("fedavg", victims=32, convergence=RISING)]).notes
    assert notes == [
        "WARNING: the audits differ in victims: 64 and 32",
        "attacks on fedavg have not converged: these leak at least as much as is shown",
    ]


def test_a_run_without_an_audit_is_in_no_leakage_table_and_a_group_says_how_many_were(audited, write_run, tmp_path):
    alone = write_run(tmp_path / "dtfl-9", [0.4, 0.9], target_accuracy=0.45, method="dtfl", seed=9)
    comparison = compare([audited("dtfl"), alone])
    assert [group.name for group in comparison.settings[0].groups if group.exposures] == ["dtfl"]
    assert "not all runs of dtfl were audited: their leakage is that of the others" in comparison.notes


def test_groups_without_an_audit_are_named_as_unknown_where_others_have_one(audited, write_run, tmp_path):
    without = write_run(tmp_path / "without", [0.4, 0.5], target_accuracy=0.45, method="fedgkt")
    said = "no audit of fedgkt can be used: what they leak is not known, which is not nothing"
    assert said in compare([audited("dtfl"), without]).notes
    assert compare([without]).notes == []
