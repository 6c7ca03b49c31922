"""Methods from the configuration on: what is resolved, refused, defended and recorded."""

import json
from dataclasses import dataclass

import pytest
import torch

from dtfl_private import train
from dtfl_private.errors import CallbackError, InputError
from dtfl_private.experiments.config.toml_files import read_run_config
from dtfl_private.experiments.setup.prepare import prepare
from dtfl_private.experiments.setup.run_objects import RunObjects
from dtfl_private.models.cutting.staged import StagedModel
from dtfl_private.protection.base import Defense
from dtfl_private.protection.client_context import Remark
from dtfl_private.protocol.messages import SmashedBatch, Transcript, WeightUpdate
from dtfl_private.runtime.callback import Callback
from dtfl_private.simulation.schedulers.dynamic import Dynamic
from dtfl_private.training.methods.full import FedAvg


class NoMethod:
    """A class that trains nothing."""


@dataclass(frozen=True, kw_only=True)
class Renamed(FedAvg):
    """A method from outside: FedAvg by another name."""


@pytest.mark.parametrize(
    ("method", "tier"),
    [("fedavg", 4), ("centralised", 4), ("splitfed-v2:cut=3", 3), ("fedgkt", 2), ("local-loss:cut=1", 1)],
)
def test_a_method_without_tiers_writes_down_where_it_cuts_and_repeats_from_that(prepare_tiny, method, tier):
    resolved = prepare_tiny(method=method).config
    assert (resolved.scheduler, resolved.tiers) == (f"static:m={tier}", 1)
    again = prepare_tiny(**resolved.model_dump(exclude={"dataset", "model", "profiles"}))
    assert again.config == resolved
    assert again.settings.schedule.table == prepare_tiny(method=method).settings.schedule.table


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"method": "splitfed-v1:cut=4"}, r"cut=4 is out of range: .* can be cut after module \[1, 2, 3\]"),
        ({"method": "fedgkt:cut=9"}, "cut=9 is out of range"),
        ({"method": "fedprox:mu=-1"}, "mu=-1 is refused"),
        ({"method": "fedavg:cut=2"}, "method 'fedavg' takes no settings"),
        ({"method": "fedavg", "defense": ["quantize"]}, "quantize acts on smashed.*only on download, weights"),
        ({"method": "fedgkt", "defense": ["update-clip"]}, "update-clip acts on weights.*nowhere"),
        ({"method": "splitfed-v2", "defense": ["dp-weights"]}, "dp-weights acts on training"),
        (
            {"method": f"{__name__}:NoMethod"},
            "NoMethod. is a class, but no subclass of dtfl_private.training",
        ),
    ],
)
def test_what_a_method_cannot_do_is_refused_in_one_line(prepare_tiny, values, said):
    with pytest.raises(InputError, match=said) as error:
        prepare_tiny(**values)
    assert "\n" not in str(error.value)


def test_a_scheduler_for_a_method_without_tiers_is_refused(patterns, tiny_network, tiny_config):
    with pytest.raises(InputError, match="method fedavg has no tiers to schedule"):
        prepare(
            tiny_config(method="fedavg"),
            objects=RunObjects(dataset=patterns, model=tiny_network(), scheduler=Dynamic()),
        )


def test_a_client_half_with_nothing_to_train_is_refused(prepare_tiny, tiny_network):
    with_plain_start = StagedModel([("nothing", torch.nn.Identity()), *tiny_network().named_children()])
    with pytest.raises(InputError, match="cut=1 leaves the clients nothing to train"):
        prepare_tiny(method="splitfed-v1:cut=1", model=with_plain_start)


def test_a_method_of_ones_own_needs_no_entry_point(prepare_tiny, play):
    ((ours, _),) = play(prepare_tiny(method=f"{__name__}:Renamed"))
    ((theirs, _),) = play(prepare_tiny(method="fedavg"))
    assert all(torch.equal(ours.weights.model[name], tensor) for name, tensor in theirs.weights.model.items())


@pytest.mark.parametrize("method", ["fedavg", "fedyogi", "splitfed-v1", "splitfed-v2"])
def test_updates_are_clipped_before_they_are_averaged(prepare_tiny, play, method):
    transcript = Transcript()
    prepared = prepare_tiny(method=method, defense=["update-clip:norm=0.01"])
    ((_, outcome),) = play(prepared, 1, [transcript.record])
    updates = [message for message in transcript.messages if isinstance(message, WeightUpdate)]
    start = prepared.initial.weights.model
    trained = [update for update in updates if "stem.0.weight" in update.weights]
    assert len(trained) == 3
    for update in trained:
        moving = [name for name, tensor in update.weights.items() if tensor.is_floating_point()]
        squares = [float(((update.weights[name] - start[name]) ** 2).sum()) for name in moving]
        assert sum(squares) ** 0.5 == pytest.approx(0.01, rel=1e-3)
    (entry,) = [entry for entry in outcome.privacy if entry["what"] == "weights"]
    assert entry["sentence"] == "weight updates pass update-clip: no formal guarantee"


def test_splitfed_sends_protected_labels_and_activations(prepare_tiny, play):
    raw, protected = Transcript(), Transcript()
    play(prepare_tiny(method="splitfed-v1"), 1, [raw.record])
    defense = ["label-rr:epsilon=0.1", "dropout:p=0.5"]
    ((_, outcome),) = play(prepare_tiny(method="splitfed-v1", defense=defense), 1, [protected.record])
    sent = [[m for m in t.messages if isinstance(m, SmashedBatch)] for t in (raw, protected)]
    labels = [torch.cat([message.labels for message in messages]) for messages in sent]
    assert not torch.equal(*labels)
    zeros = [float((torch.cat([message.smashed for message in m]) == 0).double().mean()) for m in sent]
    assert zeros[1] > zeros[0] + 0.1
    (entry,) = [entry for entry in outcome.privacy if entry["what"] == "labels"]
    assert entry["epsilon"] == pytest.approx(0.1)


class Distrustful(Defense):
    """Client 1 takes no part."""

    def inspect(self, download, at):
        return [Remark(text="no", refuses=at.client == 1)]


@pytest.mark.parametrize("method", ["fedavg", "fedadam", "splitfed-v1", "splitfed-v2"])
def test_a_client_that_refuses_the_download_sends_nothing(prepare_tiny, play, method):
    transcript = Transcript()
    ((_, outcome),) = play(prepare_tiny(method=method, defenses=[Distrustful()]), 1, [transcript.record])
    assert {message.client for message in transcript.messages} == {0, 2}
    again = 2 if method == "fedadam" else 0  # those who took part measure 96 bytes of statistics of the new weights
    down, up = outcome.traffic["down_weights"], outcome.traffic["up_weights"]
    assert (3 + again) * (up - 96 * again) == 2 * down


@pytest.mark.parametrize("method", ["fedgkt", "fedyogi"])
def test_a_run_leaves_a_folder_and_resumes_in_it(patterns, tiny_network, tiny_config, tmp_path, method):
    given = {"dataset": patterns, "model": tiny_network()}
    whole = train(tiny_config(method=method), out=tmp_path / "whole", **given)
    assert read_run_config(whole.folder).method.startswith(f"{method}:")

    class StopError(Exception):
        pass

    class Stopper(Callback):
        def round_finished(self, record):
            if record["round"] == 2:
                raise StopError

    with pytest.raises(CallbackError, match="callback Stopper failed in round_finished: StopError; what was finished"):
        train(tiny_config(method=method), out=tmp_path / "half", callbacks=[Stopper()], **given)
    resumed = train(tiny_config(method=method), out=tmp_path / "half", resume=True, **given)
    assert resumed.folder.model.read_bytes() == whole.folder.model.read_bytes()
    for ours, theirs in zip(resumed.records, whole.records, strict=True):
        assert {**ours, "wall_time_s": 0} == {**theirs, "wall_time_s": 0}
    summary = json.loads(whole.folder.summary.read_text())
    assert summary["bytes"].keys() == whole.records[0]["bytes"].keys()
    assert ("up_logits" in summary["bytes"]) == (method == "fedgkt")
