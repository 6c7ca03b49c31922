"""How far it is from the command line to the first tensor operation, counted in calls of ours."""

import pytest

from benchmarks.frames import ATTACKS, TRAIN, attack_with, frames_of, in_attack, in_training

MOST_OF_TRAIN = 12
MOST_OF_ATTACK = 14


@pytest.fixture(scope="module")
def of_train(tmp_path_factory):
    """Our frames at the first operation of a network in a round, and in the current folder the run that this left."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("frames"))
        patch.setattr("dtfl_private.runtime.allocator.tune_allocator", lambda: None)  # of its own process
        patch.setattr("dtfl_private.attacking.runner.save_pictures", lambda *_: [])  # long after what is looked at
        yield frames_of(TRAIN, in_training)


def test_a_training_is_near_the_command_line(of_train):
    assert 5 <= len(of_train) <= MOST_OF_TRAIN, "\n".join(of_train)


@pytest.mark.usefixtures("of_train")
@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_is_near_the_command_line(attack):
    frames = frames_of(attack_with(attack), in_attack)
    assert 5 <= len(frames) <= MOST_OF_ATTACK, "\n".join(frames)
