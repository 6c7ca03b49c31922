"""What a folder to go on with may hold: links are refused, and only the audit that is asked for counts."""

import pytest

from dtfl_private.attacking.chosen_attack import make_attack
from dtfl_private.attacking.effort import EFFORTS
from dtfl_private.auditing.audit_config import make_audit_config
from dtfl_private.choosing.fresh_audit import is_such
from dtfl_private.choosing.request import make_request, request_toml
from dtfl_private.choosing.space import parse_space
from dtfl_private.choosing.tuning import AUDIT, FRESH, REQUEST, RUNS, TRIALS, TuningInterrupted, resume_tuning, tune
from dtfl_private.errors import InputError
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.runtime.callback import Callback
from dtfl_private.verdicts.findings import NotTested
from tests.audit_samples import full

CONFIG = TrainConfig(rounds=4, clients=2, max_train_images=80, workers=1)
SPACE = '[[defense]]\nname = "top-k"\nsettings = { share = [0.5] }\n'
ASKED = make_audit_config(attacks=("decoder:size=small,steps=300", "unshuffle"), victims=192, seeds=1, effort="quick")


@pytest.mark.parametrize("name", [TRIALS, RUNS, FRESH, AUDIT])
def test_nothing_is_written_through_a_link(tmp_path, name):
    request = make_request(CONFIG, parse_space(SPACE, "space"), limits=["ssim<=0.4"], trials=2)
    folder, elsewhere = tmp_path / "search", tmp_path / "elsewhere"
    folder.mkdir()
    (folder / REQUEST).write_text(request_toml(request))
    (folder / name).symlink_to(elsewhere)
    with pytest.raises(InputError, match="is a link"):
        resume_tuning(folder)
    assert not elsewhere.exists()


def mounted(*attacks: str) -> str:
    """Return attacks as an audit writes them down: with all their settings."""
    return "; ".join(make_attack(text, EFFORTS["quick"])[1] for text in attacks)


def such(**settings: object):
    """Return the findings of the audit that is asked for, but for these settings."""
    wanted = ASKED.settled().model_dump(mode="json")
    own = {key: value for key, value in wanted.items() if not isinstance(value, list)}
    there = full()
    training = there.training.model_copy(
        update={"seed": CONFIG.seed, "rounds": CONFIG.rounds, "clients": CONFIG.clients}
    )
    left_out = NotTested(what="unshuffle at tier 1, 2", why="none")
    changes = {"attacks": mounted(ASKED.attacks[0]), **settings}
    return there.model_copy(update={"training": training, "settings": {**own, **changes}, "not_tested": (left_out,)})


def test_the_audit_that_was_asked_for_is_not_made_again():
    assert is_such(such(), CONFIG, ASKED)
    assert is_such(such(workers=7, device="cuda", attacks=mounted(*ASKED.attacks)), CONFIG, ASKED)


@pytest.mark.parametrize(
    "change",
    [
        *({"victims": 8}, {"aux_images": 1}, {"assume": "secure-aggregation"}),
        *(
            {"attacks": mounted("decoder:size=small,steps=3")},
            {"attacks": mounted("decoder:size=small,steps=300,lr=1")},
        ),
    ],
)
def test_another_audit_does_not_count(change):
    assert not is_such(such(**change), CONFIG, ASKED)


def test_an_audit_of_another_training_does_not_count():
    assert not is_such(such(), CONFIG.model_copy(update={"seed": 9}), ASKED)


class _Stops(Callback):
    """The user presses Ctrl-C once trials are announced."""

    def jobs_announced(self, *_: object) -> None:
        raise KeyboardInterrupt


def test_who_stops_a_search_is_told_how_to_go_on(tmp_path):
    space = tmp_path / "space.toml"
    space.write_text(SPACE)
    with pytest.raises(TuningInterrupted) as caught:
        tune(CONFIG, ["epsilon-labels<=1"], trials=2, space=space, out=tmp_path / "search", callbacks=[_Stops()])
    assert caught.value.folder == tmp_path / "search"
    assert (caught.value.folder / TRIALS).is_file()
