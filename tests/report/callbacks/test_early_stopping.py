import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtfl_private import EarlyStopping, InputError, RunError, StopTraining


def stopped_after(callback, figures, make, metric="test_loss", before=0):
    """Return after how many rounds such a training ends, and why; ``before``: rounds before it was interrupted."""
    records = [make(number, **{metric: figure}) for number, figure in enumerate(figures, start=1)]
    try:
        callback.run_started(None, len(records), records[:before], list)
    except StopTraining as stop:
        return before, str(stop)
    for record in records[before:]:
        try:
            callback.round_finished(record)
        except StopTraining as stop:
            return record["round"], str(stop)
    return None, ""


def test_it_stops_after_as_many_rounds_without_an_improvement(a_round):
    losses = [1.0, 0.9, 0.95, 0.9, 0.8, 0.8, 0.81, 0.7]
    why = "test_loss has not improved for 2 rounds (best 0.9 in round 2)"
    assert stopped_after(EarlyStopping(patience=2), losses, a_round) == (4, why)
    assert stopped_after(EarlyStopping(patience=3), losses, a_round) == (None, "")


def test_a_higher_accuracy_is_better(a_round):
    accuracies = [0.5, 0.6, 0.55]
    found = stopped_after(EarlyStopping("test_accuracy", patience=1), accuracies, a_round, "test_accuracy")
    assert found == (3, "test_accuracy has not improved for 1 round (best 0.6 in round 2)")


def test_an_improvement_must_be_more_than_min_delta(a_round):
    losses = [1.0, 0.75, 0.5]
    assert stopped_after(EarlyStopping(patience=1, min_delta=0.25), losses, a_round)[0] == 2
    assert stopped_after(EarlyStopping(patience=1, min_delta=0.24), losses, a_round)[0] is None


LOSSES = st.lists(st.sampled_from([0.1, 0.2, 0.3]), min_size=1, max_size=12)


@given(losses=LOSSES, patience=st.integers(1, 4), cut=st.integers(0, 12))
def test_a_training_that_was_interrupted_anywhere_stops_where_it_would_have_stopped(losses, patience, cut):
    def make(number, test_loss):
        return {"round": number, "test_loss": test_loss, "tiers": {}, "bytes": {}, "macs": {}, "privacy": []}

    whole = stopped_after(EarlyStopping(patience=patience), losses, make)
    before = min(cut, len(losses), whole[0] or len(losses))
    assert stopped_after(EarlyStopping(patience=patience), losses, make, before=before) == whole
    # By the definition: for the first time the last rounds are no better than those before.
    ends = range(patience + 1, len(losses) + 1)
    plain = next((end for end in ends if min(losses[end - patience : end]) >= min(losses[: end - patience])), None)
    assert whole[0] == plain


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"metric": "virtual_time_s"}, "early stopping by 'virtual_time_s': expected an accuracy or a loss"),
        ({"patience": 0}, "early stopping after 0 rounds: expected a patience of at least 1"),
        ({"min_delta": float("nan")}, "early stopping with min_delta nan: expected a number that is not negative"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, line):
    with pytest.raises(InputError, match=line):
        EarlyStopping(**settings)


def test_a_figure_that_the_run_does_not_have_is_named_with_those_that_it_has(a_round):
    line = "by 'own_loss': this run has no such figure, but test_accuracy, test_loss, local_loss, server_loss"
    with pytest.raises(RunError, match=line):
        EarlyStopping("own_loss").round_finished(a_round())


def test_rounds_that_do_not_have_the_figure_yet_are_not_judged(a_round):
    losses = [None, None, 1.0, None, 1.0]
    assert stopped_after(EarlyStopping("local_loss", patience=2), losses, a_round, "local_loss")[0] == 5
