import hashlib
import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dtfl_private.errors import CheckpointError
from dtfl_private.experiments.run_folder import checkpoint
from dtfl_private.experiments.run_folder.checkpoint import HISTORY_FIELDS, load_checkpoint, save_checkpoint
from dtfl_private.training.optimizers import PlateauState


def equal(ours, theirs) -> bool:
    """Whether two federated states are the same, bit for bit."""
    tensors, expected = checkpoint._tensors(ours), checkpoint._tensors(theirs)
    same = tensors.keys() == expected.keys() and all(
        tensor.dtype == expected[name].dtype and tensor.numpy().tobytes() == expected[name].numpy().tobytes()
        for name, tensor in tensors.items()
    )
    return (
        same
        and ours.round == theirs.round
        and ours.plateau == theirs.plateau
        and (ours.schedule.clock == theirs.schedule.clock)
    )


class Saved:
    """A checkpoint folder after two rounds, and the states that went into it."""

    def __init__(self, prepared, states, folder) -> None:
        self.prepared, self.states, self.folder = prepared, states, folder
        self.warnings: list[str] = []
        for state in states:
            save_checkpoint(folder, state)

    @property
    def newest(self):
        return self.folder / "round-000002"

    def load(self):
        self.warnings.clear()
        return load_checkpoint(
            self.folder, self.prepared.initial, self.prepared.settings.schedule, self.warnings.append
        )

    def forge(self, *, numbers=None, tensors=None, drop=()) -> None:
        """Change the newest checkpoint's content and make its manifest agree with it."""
        state, figures = self.newest / "state.safetensors", self.newest / "state.json"
        content = safetensors.torch.load(state.read_bytes()) | (tensors or {})
        state.write_bytes(
            safetensors.torch.save({name: tensor for name, tensor in content.items() if name not in drop})
        )
        figures.write_text(json.dumps(json.loads(figures.read_text()) | (numbers or {})))
        self.agree()

    def agree(self) -> None:
        hashes = {
            name: hashlib.sha256((self.newest / name).read_bytes()).hexdigest()
            for name in ("state.safetensors", "state.json")
        }
        (self.newest / "manifest.json").write_text(json.dumps({"sha256": hashes}))

    def falls_back_saying(self, reason: str) -> bool:
        found = self.load()
        (warning,) = self.warnings
        assert warning.startswith("checkpoint round-000002 is damaged and was not loaded: ")
        assert "\n" not in warning
        return equal(found, self.states[0]) and reason in warning


@pytest.fixture(scope="module")
def played(prepare_tiny, play):
    prepared = prepare_tiny(scheduler="dynamic", noise=0.2, fraction=0.5, absent=0.3)
    return prepared, [state for state, _ in play(prepared, 2)]


@pytest.fixture
def saved(played, tmp_path) -> Saved:
    return Saved(*played, tmp_path / "checkpoint")


def test_a_state_comes_back_bit_for_bit(saved):
    assert equal(saved.load(), saved.states[1])
    assert saved.warnings == []
    assert not equal(saved.states[0], saved.states[1])
    assert np.isnan(saved.states[1].schedule.history.seconds_KM).any()


@pytest.mark.parametrize("best_loss", [math.inf, 0.1 + 0.2, 1e-300])
def test_the_figures_of_the_plateau_come_back_exactly(saved, best_loss):
    plateau = PlateauState(lr=1e-3 * 0.9**7, best_loss=best_loss, waited=3)
    save_checkpoint(saved.folder, replace(saved.states[1], plateau=plateau))
    assert saved.load().plateau == plateau


def test_the_last_two_are_kept(saved):
    for number in (3, 4, 5):
        save_checkpoint(saved.folder, replace(saved.states[1], round=number))
    assert sorted(path.name for path in saved.folder.iterdir()) == ["round-000004", "round-000005"]


def test_no_pickle_is_in_a_checkpoint(saved):
    assert sorted(path.name for path in saved.newest.iterdir()) == ["manifest.json", "state.json", "state.safetensors"]
    json.loads((saved.newest / "state.json").read_text())
    names = safetensors.torch.load_file(saved.newest / "state.safetensors").keys()
    assert {name.partition("/")[0] for name in names} == {"model", "head", "history", "environment"}


FILES = ["manifest.json", "state.json", "state.safetensors"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: data[: len(data) // 2],
        lambda _: b"",
        lambda data: data[::-1],
        lambda data: data + b"x",
        lambda data: b"\xff" * len(data),
    ],
    ids=["last byte missing", "half", "empty", "reversed", "longer", "overwritten"],
)
def test_a_damaged_file_is_recognised_and_the_older_checkpoint_taken(saved, name, damage):
    file = saved.newest / name
    file.write_bytes(damage(file.read_bytes()))
    assert saved.falls_back_saying("manifest" if name == "manifest.json" else f"{name} does not have the SHA-256")


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_recognised(saved, name):
    (saved.newest / name).unlink()
    assert saved.falls_back_saying("No such file")


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(FILES), where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_no_flipped_bit_anywhere_makes_another_state(saved, name, where, bit):
    file = saved.newest / name
    data = file.read_bytes()
    flipped = bytearray(data)
    flipped[int(where * len(data))] ^= 1 << bit
    file.write_bytes(flipped)
    found = saved.load()
    # White space of the manifest may change without harm; everything else makes the older one be taken.
    assert equal(found, saved.states[0 if saved.warnings else 1])
    assert saved.warnings or name == "manifest.json"
    file.write_bytes(data)


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ({"round": 3}, "it holds round 3"),
        ({"round": 0}, "unreadable content"),
        ({"lr": 0.0}, "unreadable content"),
        ({"lr": math.nan}, "unreadable content"),
        ({"virtual_time_s": -1.0}, "unreadable content"),
        ({"waited": -1}, "unreadable content"),
        ({"more": 1}, "unreadable content"),
    ],
)
def test_figures_that_no_run_can_have_are_not_loaded_even_with_right_hashes(saved, numbers, said):
    saved.forge(numbers=numbers)
    assert saved.falls_back_saying(said)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("model/top.2.weight", torch.zeros(3, 9)),
        ("model/top.2.weight", torch.zeros(8, 3)),
        ("model/top.2.weight", torch.zeros(3, 8, dtype=torch.float64)),
        ("model/extra", torch.zeros(1)),
        ("head/2/fc.bias", torch.zeros(4)),
        ("head/9/fc.bias", torch.zeros(3)),
        ("history/seconds_KM", torch.zeros(4, 3, dtype=torch.float64)),
        ("history/tier_K", torch.full((3,), 4)),
        ("environment/profile_K", torch.full((3,), 5)),
        ("environment/profile_K", torch.full((3,), -1)),
        ("environment/present_K", torch.zeros(3)),
    ],
)
def test_tensors_that_do_not_fit_the_run_are_not_loaded_even_with_right_hashes(saved, name, wrong):
    saved.forge(tensors={name: wrong})
    assert saved.falls_back_saying("it does not fit the run")


@pytest.mark.parametrize("name", ["model/stem.0.weight", "head/1/fc.weight", *(f"history/{f}" for f in HISTORY_FIELDS)])
def test_a_missing_tensor_is_recognised_even_with_right_hashes(saved, name):
    saved.forge(drop=[name])
    assert saved.falls_back_saying(f"it does not fit the run: {name} is amiss")


def test_what_is_no_safetensors_file_is_not_loaded_even_with_right_hashes(saved):
    (saved.newest / "state.safetensors").write_bytes(b"\x80\x04." * 30)
    saved.agree()
    assert saved.falls_back_saying("unreadable content")


def test_forging_without_a_change_is_no_damage(saved):
    saved.forge()
    assert equal(saved.load(), saved.states[1])


def test_a_checkpoint_under_another_rounds_name_is_not_loaded(saved):
    shutil.copytree(saved.newest, saved.folder / "round-000007")
    assert equal(saved.load(), saved.states[1])
    assert saved.warnings == ["checkpoint round-000007 is damaged and was not loaded: it holds round 2"]


def test_when_none_is_intact_that_is_an_error(saved):
    for path in saved.folder.iterdir():
        (path / "state.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"no intact checkpoint is left in .*: start again in a new --out folder"):
        saved.load()
    assert len(saved.warnings) == 2


def test_no_folder_or_an_empty_one_is_no_checkpoint_yet(saved):
    shutil.rmtree(saved.folder)
    assert saved.load() is None
    saved.folder.mkdir()
    (saved.folder / ".round-000001.tmp").mkdir()
    (saved.folder / "round-one").mkdir()
    (saved.folder / "notes.txt").write_text("mine")
    assert saved.load() is None
    assert saved.warnings == []


@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_crash_between_the_files_leaves_the_older_ones_and_is_cleared_away_later(saved, monkeypatch, at):
    state = replace(saved.states[1], round=3)
    write, calls = checkpoint.write_synced, []

    def crash(path, data):
        calls.append(path)
        if len(calls) == at:
            path.write_bytes(data[: len(data) // 2])
            raise KeyboardInterrupt
        write(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "write_synced", crash)
        with pytest.raises(KeyboardInterrupt):
            save_checkpoint(saved.folder, state)
    assert len(calls) == at
    assert equal(saved.load(), saved.states[1])
    save_checkpoint(saved.folder, state)
    assert equal(saved.load(), state)
    assert saved.warnings == []
    assert sorted(path.name for path in saved.folder.iterdir()) == ["round-000002", "round-000003"]


def test_a_damaged_checkpoint_is_replaced_when_its_round_is_played_again(saved):
    (saved.newest / "state.json").unlink()
    save_checkpoint(saved.folder, saved.states[1])
    assert equal(saved.load(), saved.states[1])
    assert saved.warnings == []
