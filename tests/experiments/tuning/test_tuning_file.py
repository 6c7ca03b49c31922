"""tuning.json, which may be anybody's."""

import json

import pytest

from dtfl_private.errors import InputError
from dtfl_private.experiments.tuning.tuning_file import read_choices, write_choices
from dtfl_private.report.comparison.tuned_settings import TrialOutcome, TunedSettings


@pytest.fixture
def written(tuned, tmp_path):
    """The plan of the preset, what was chosen, and the file that says so."""
    plan = tuned().tuning
    choices = {
        one.name: TunedSettings(
            trials=[
                TrialOutcome(settings=trial.settings, accuracy=None if place == 0 else 0.5, time_to_target_s=3 - place)
                for place, trial in enumerate(one.trials)
            ],
            chosen=2,
        )
        for one in plan.combinations
    }
    path = tmp_path / "tuning.json"
    write_choices(path, plan, choices)
    return plan, choices, path


def test_choices_are_read_as_they_were_written(written):
    plan, choices, path = written
    assert read_choices(path, plan) == choices


@pytest.mark.parametrize(
    "change",
    [("lr = 0.02", "lr = 0.03"), ("rounds = { small = 1 }", "rounds = 2"), ('"time-to-target"', '"accuracy"')],
)
def test_choices_of_other_trials_are_refused(written, tuned, change):
    _, _, path = written
    with pytest.raises(InputError, match="is of other trials than the preset's: choose another --out"):
        read_choices(path, tuned(change).tuning)


def spoilt(change):
    def spoil(text: str) -> str:
        document = json.loads(text)
        change(document, document["choices"][0])
        return json.dumps(document)

    return spoil


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda text: text[:-9], "is damaged"),
        (lambda _: "[" * 5000, "nested more than 64 levels deep"),
        (lambda _: "[]", "is damaged"),
        (lambda text: text.replace("0.5", "NaN", 1), "is damaged"),
        (lambda text: text.replace("0.5", "1.5", 1), "choices.0.trials.1.accuracy: Input should be less than or equal"),
        (spoilt(lambda _, one: one.update(chosen=1)), "trial 2 of 'fedavg' is not the best"),
        (spoilt(lambda _, one: one.update(chosen=99)), "trial 100 of 'fedavg' is not the best"),
        (spoilt(lambda _, one: one.update(chosen="2")), "choices.0.chosen: Input should be a valid integer"),
        (spoilt(lambda _, one: one.update(extra=2)), "choices.0.extra: Extra inputs are not permitted"),
        (spoilt(lambda _, one: one.update(trials=[])), "choices.0.trials"),
        (spoilt(lambda _, one: one["trials"][2]["settings"].update(lr=0.3)), "settings of 'fedavg' are not those"),
        (spoilt(lambda _, one: one["trials"].pop(0)), "settings of 'fedavg' are not those"),
        (spoilt(lambda document, one: document["choices"].append(one)), "its names are not those"),
        (spoilt(lambda document, _: document["choices"].pop()), "its names are not those"),
        (
            spoilt(lambda _, one: [trial.update(accuracy=None) for trial in one["trials"]]),
            "all trials of 'fedavg' diverged",
        ),
    ],
)
def test_a_damaged_file_is_refused_in_one_line(written, spoil, said):
    plan, _, path = written
    path.write_text(spoil(path.read_text()))
    with pytest.raises(InputError, match=said) as refused:
        read_choices(path, plan)
    assert "\n" not in str(refused.value)
    assert "remove it, and it is made again from the trials" in str(refused.value)
