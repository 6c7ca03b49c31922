import pytest

from dtfl_private.errors import InputError


def settings_of(preset) -> dict[str, list[dict[str, object]]]:
    return {one.name: [dict(trial.settings) for trial in one.trials] for one in preset.tuning.combinations}


def test_every_combination_is_tried_with_its_own_settings_first_and_each_other_once(tuned):
    assert settings_of(tuned()) == {
        "fedavg": [{"lr": 0.001}, {"lr": 0.005}, {"lr": 0.02}],
        # mu=0.01 is the default, and so the first trial.
        "fedprox": [{"lr": 0.001, "mu": "0.01"}, {"lr": 0.001, "mu": "0.1"}, {"lr": 0.02, "mu": "0.01"}],
    }


def test_a_trial_keeps_the_settings_that_the_preset_gives_its_method(tuned):
    preset = tuned(('["fedavg", "fedprox"]', '["fedavg", "fedprox:mu=0.5"]'), ("[0.005, 0.02]", "[0.005, 0.02, 0.03]"))
    given = preset.tuning.combinations[1]
    assert [trial.settings["mu"] for trial in given.trials] == ["0.5", "0.1", "0.01", "0.5"]
    assert [trial.runs[0].config.method for trial in given.trials][:2] == ["fedprox:mu=0.5", "fedprox:mu=0.1"]


def test_trials_are_judged_on_images_that_no_run_trains_on_and_runs_stay_as_they_are(tuned):
    preset = tuned()
    for run in preset.tuning.runs:
        config = run.config
        assert (config.validation, config.judged_on, config.validation_avoids) == (0.1, "validation", [0, 1, 7, 8])
        assert (config.rounds, config.seed in (7, 8)) == (1, True)
    tuned_runs = [run for one in preset.tuning.combinations for runs in one.tuned for run in runs]
    for run in (*preset.runs, *tuned_runs):
        assert (run.config.validation, run.config.judged_on, run.config.rounds) == (0.0, "test", 2)


def test_runs_on_all_images_leave_out_those_that_trials_are_judged_on(tuned):
    preset = tuned(("max_train_images = 30\n", ""))
    assert {run.config.validation for run in preset.runs} == {0.1}
    assert {tuple(run.config.validation_avoids) for run in preset.tuning.runs} == {()}
    assert {run.config.judged_on for run in preset.runs} == {"test"}


def test_the_untuned_settings_have_no_runs_of_their_own_among_the_tuned(tuned):
    fedavg = tuned().tuning.combinations[0]
    assert [[run.name for run in runs] for runs in fedavg.tuned] == [
        ["fedavg-seed0", "fedavg-seed1"],
        *[["fedavg-tuned-seed0", "fedavg-tuned-seed1"]] * 2,
    ]
    assert [runs[0].config.lr for runs in fedavg.tuned] == [0.001, 0.005, 0.02]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("lr = [0.005, 0.02]", "lr = 0.02", "method fedavg has 2 trials and fedprox 3, the untuned settings included"),
        ("lr = [0.005, 0.02]", "lr = [0.001, 0.02]", "method fedavg has 2 trials and fedprox 3"),
        ('method = ["fedavg", "fedprox"]', 'method = ["fedavg", "fedprox", "dtfl"]', "method dtfl has 1 trial and"),
        (
            'method = ["fedavg", "fedprox"]',
            'method = "fedavg"',
            r"unknown method of \[\[tuning.trials\]\] in .*'fedprox'",
        ),
        ('"FedProx:mu=0.01"', '"os:getcwd"', r"unknown method of \[\[tuning.trials\]\] in .*'os:getcwd'"),
        ("lr = 0.02", "learning = 0.02", r"unknown key in \[\[tuning.trials\]\] of .*: 'learning'"),
        ("lr = 0.02", "rounds = 3", r"unknown key in \[\[tuning.trials\]\] of .*: 'rounds'"),
        ("lr = 0.02", 'partition = "iid"', r"unknown key in \[\[tuning.trials\]\] of .*: 'partition'"),
        ("lr = 0.02", "lr = -1", "lr -1 is refused"),
        ("lr = [0.005, 0.02]", "lr = []", "method fedavg has 1 trial and fedprox 3"),
        ('method = "fedprox"\nlr', "lr", r"a table of \[\[tuning.trials\]\] names no method"),
        ("fedprox:mu=0.1", "fedprox:mo=0.1", "unknown setting of method 'fedprox' 'mo': did you mean 'mu'"),
        ("fedprox:mu=0.1", "fedprox:mu=much", "method 'fedprox': mu=much is refused"),
        ("seeds = [7, 8]", "seeds = [7, 1]", r"tuning.seeds \[7, 1\] has 1, a seed of the runs: take others"),
        ("seeds = [7, 8]", "seeds = [7, 7]", r"tuning.seeds \[7, 7\] name one seed twice"),
        ("seeds = [7, 8]", "seads = [7, 8]", r"unknown key in .*: 'seads': did you mean 'seeds'\?"),
        ("validation = 0.1", "validation = 1", "tuning.validation is refused: input should be less than 1"),
        ('metric = "time-to-target"', 'metric = "speed"', "tuning.metric is refused: input should be 'accuracy' or"),
        ("target_accuracy = 0.01", "", "tuning.metric time-to-target needs a target for 'fedavg-seed0'"),
        ("clients = 2", "clients = 2\nvalidation = 0.2", r"gives validation or judged_on beside \[tuning\]"),
    ],
)
def test_a_wrong_table_is_refused_in_one_line(tuned, old, new, said):
    with pytest.raises(InputError, match=said) as refused:
        tuned((old, new))
    assert "\n" not in str(refused.value)
