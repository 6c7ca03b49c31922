import sys
from types import SimpleNamespace
from typing import ClassVar

import pytest
from interrupted_runs import Notes
from torch import nn

from dtfl_private.errors import InputError
from dtfl_private.models.cutting.staged import StagedModel
from dtfl_private.protection.base import Defense, DefenseFacts
from dtfl_private.protocol.messages import SmashedBatch, Transcript


def network_in_place() -> StagedModel:
    """A network whose layer before the ReLU in place has weights: per-record gradients hook into it."""
    return StagedModel(
        [
            ("stem", nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(inplace=True))),
            ("body", nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU())),
            ("top", nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))),
        ]
    )


class Stumbles(Defense):
    """A defense of the user's own with a mistake that shows when it is used."""

    facts: ClassVar[DefenseFacts] = DefenseFacts(
        protects="nothing", acts_on=("smashed",), guarantee="none", cost="none", attacker="nothing"
    )

    def protect_batch(self, message, at):
        return message.no_such_field


@pytest.mark.parametrize(
    ("objects", "settings", "said"),
    [
        (
            {"model": network_in_place()},
            {"defense": ["dp-weights:noise_multiplier=1"]},
            "dp-weights cannot protect this network: a layer changes its input in place: .* ReLU without inplace",
        ),
        (
            {"defenses": [Stumbles()]},
            {},
            r"cannot be trained with stumbles: a batch of 4 in tier 3.*AttributeError: .*no_",
        ),
    ],
)
def test_what_shows_only_in_training_is_found_before_a_folder_is_there(run_tiny, tmp_path, objects, settings, said):
    notes = Notes()
    with pytest.raises(InputError, match=said):
        run_tiny(tmp_path / "run", callbacks=[notes], objects=objects, **settings)
    assert list(tmp_path.iterdir()) == []
    assert notes.heard == []


class Counts(Defense):
    """A defense that keeps something, as it should not."""

    facts: ClassVar[DefenseFacts] = Stumbles.facts

    def __init__(self) -> None:
        self.batches = 0

    def protect_batch(self, message, at):
        self.batches += 1
        return message


def test_the_trial_before_a_run_is_no_part_of_it(run_tiny, tmp_path):
    counts, seen = Counts(), Transcript()
    run_tiny(tmp_path / "run", rounds=1, objects={"defenses": [counts], "observers": [seen.record]})
    smashed = [message for message in seen.messages if isinstance(message, SmashedBatch)]
    assert counts.batches == len(smashed) == 12  # of 40 records, 4 at a time, from three clients


def test_a_defense_of_a_notebook_is_refused_with_several_workers_before_a_folder_is_there(
    run_tiny, tmp_path, monkeypatch
):
    monkeypatch.setattr(Counts, "__module__", "__main__")
    monkeypatch.setitem(sys.modules, "__main__", SimpleNamespace(Counts=Counts))
    said = r"^defense counts cannot be sent to worker processes \(Counts is defined in a notebook.*use workers=1$"
    with pytest.raises(InputError, match=said):
        run_tiny(tmp_path / "run", workers=2, objects={"defenses": [Counts()]})
    assert list(tmp_path.iterdir()) == []
    assert run_tiny(tmp_path / "run", workers=1, rounds=1, objects={"defenses": [Counts()]}).summary["finished"]
