"""What a run says and counts of the statistics that its images are normalised by."""

import json

import pytest
import torch

from dtfl_private import Transcript
from dtfl_private.attacking.victims.replay import open_run
from dtfl_private.errors import InputError
from dtfl_private.experiments.config.toml_files import read_run_config
from dtfl_private.experiments.run_folder.folder import RunFolder
from dtfl_private.experiments.setup.prepare import prepare
from dtfl_private.experiments.setup.run_objects import RunObjects
from dtfl_private.experiments.train import train
from dtfl_private.plugins.registry import create
from dtfl_private.protocol.messages import ChannelSums
from dtfl_private.runtime.callback import Callback

SENT = "each client's pixel count, sum and sum of squares per channel are sent once, in clear"
POOLED = "computed from all clients' pixels pooled, which a real federation cannot do"


class Stop(Callback):
    """Stops a run after its first round."""

    def round_finished(self, record) -> None:
        raise KeyboardInterrupt


def said(run) -> list[str]:
    return [entry["sentence"] for entry in run.summary["privacy"] if entry["what"] == "statistics"]


def as_an_earlier_version(folder: RunFolder) -> None:
    """Take from a run folder what versions without ``normalization`` did not write."""
    lines = [line for line in folder.config.read_text().splitlines() if not line.startswith("normalization")]
    folder.config.write_text("\n".join(lines) + "\n")
    records = [json.loads(line) for line in folder.rounds.read_text().splitlines()]
    for record in records:
        record["bytes"] = {kind: sent for kind, sent in record["bytes"].items() if "statistics" not in kind}
        record["privacy"] = [entry for entry in record["privacy"] if entry["what"] != "statistics"]
    folder.rounds.write_text("".join(json.dumps(record) + "\n" for record in records))


@pytest.fixture(scope="module")
def trained(tiny_config, patterns, tiny_network, tmp_path_factory):
    """Three clients, of whom some are not there at first, over three rounds; and all messages."""
    transcript = Transcript()
    run = train(
        tiny_config(absent=0.4, join=0.5, seed=2),
        out=tmp_path_factory.mktemp("trained") / "run",
        dataset=patterns,
        model=tiny_network(),
        observers=[transcript.record],
    )
    return run, transcript.messages


def test_every_client_reports_once_before_round_1_whether_it_is_there_or_not(trained, patterns):
    run, messages = trained
    assert len(run.records[0]["participants"]) < 3
    assert [message.client for message in messages[:3]] == [0, 1, 2]
    assert all(isinstance(message, ChannelSums) for message in messages[:3])
    assert not any(isinstance(message, ChannelSums) for message in messages[3:])
    assert sum(message.pixels for message in messages[:3]) == patterns.train_images.numel()


def test_its_bytes_are_in_round_1_and_in_the_totals_and_the_sentence_is_in_every_round(trained):
    run, _ = trained
    assert [record["bytes"]["up_statistics"] for record in run.records] == [3 * 24, 0, 0]
    assert [record["bytes"]["down_statistics"] for record in run.records] == [3 * 16, 0, 0]
    assert (run.summary["bytes"]["up_statistics"], run.summary["bytes"]["down_statistics"]) == (72, 48)
    assert said(run) == [SENT]
    assert all(record["privacy"][-1]["sentence"] == SENT for record in run.records)
    assert read_run_config(run.folder).normalization == "client-sums"


def test_a_resumed_run_neither_sends_nor_counts_them_again(trained, tiny_config, patterns, tiny_network, tmp_path):
    run, _ = trained
    config = tiny_config(absent=0.4, join=0.5, seed=2)
    with pytest.raises(KeyboardInterrupt):
        train(config, out=tmp_path / "cut", dataset=patterns, model=tiny_network(), callbacks=[Stop()])
    transcript = Transcript()
    objects = {"dataset": patterns, "model": tiny_network(), "observers": [transcript.record]}
    resumed = train(config, out=tmp_path / "cut", resume=True, **objects)
    assert not any(isinstance(message, ChannelSums) for message in transcript.messages)
    assert [record["bytes"] for record in resumed.records] == [record["bytes"] for record in run.records]
    assert resumed.summary["bytes"] == run.summary["bytes"]


def test_pooled_trains_the_same_model_and_says_that_no_federation_can(
    trained, tiny_config, patterns, tiny_network, tmp_path
):
    run, _ = trained
    config = tiny_config(absent=0.4, join=0.5, seed=2, normalization="pooled")
    pooled = train(config, out=tmp_path / "pooled", dataset=patterns, model=tiny_network())
    tensors = [weights_of(one) for one in (run, pooled)]
    assert tensors[0] == tensors[1]
    assert [sentence.partition("are ")[2].endswith(POOLED) for sentence in said(pooled)] == [True]
    assert pooled.summary["bytes"]["up_statistics"] == 0


def weights_of(run) -> bytes:
    return run.folder.model.read_bytes()


def test_constants_are_written_out_and_disclose_nothing(tiny_config, tmp_path):
    config = tiny_config(normalization="constants", rounds=1, dataset="digits:size=8", max_train_images=30)
    run = train(config, out=tmp_path / "run")
    assert read_run_config(run.folder).normalization == "constants:mean=0.3053,std=0.3759"
    assert said(run) == []
    assert run.summary["bytes"]["up_statistics"] == run.summary["bytes"]["down_statistics"] == 0


def test_constants_that_a_data_set_lacks_are_refused_before_anything_is_written(
    tiny_config, patterns, tiny_network, tmp_path
):
    with pytest.raises(InputError, match="none are published for data set patterns"):
        train(tiny_config(normalization="constants"), out=tmp_path / "run", dataset=patterns, model=tiny_network())
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("defense", "covered"), [("label-rr:2", False), ("identity", None)])
def test_with_a_guarantee_it_is_said_that_no_epsilon_covers_them(prepare_tiny, play, defense, covered):
    ((_, outcome),) = play(prepare_tiny(defenses=[create("defense", defense)]))
    (sentence,) = [entry["sentence"] for entry in outcome.privacy if entry["what"] == "statistics"]
    assert sentence == (SENT if covered is None else f"{SENT}; no epsilon covers them")


def test_where_a_defense_takes_constants_that_is_noted_and_nothing_is_sent(tiny_config, patterns):
    config = tiny_config(model="resnet-8", defense=["dp-weights:noise_multiplier=1"])
    prepared = prepare(config, objects=RunObjects(dataset=patterns))
    assert [note for note in prepared.notes if "normalization client-sums is not used under dp-weights" in note]
    assert (prepared.statistics, prepared.settings.privacy.statistics) == ((), None)
    own = prepare(
        config.model_copy(update={"normalization": "constants:mean=0.4,std=0.2"}), objects=RunObjects(dataset=patterns)
    )
    assert not [note for note in own.notes if "is not used" in note]
    black = torch.zeros(1, 1, 1, 1, dtype=torch.uint8)
    assert prepared.worker.normaliser(black).item() == pytest.approx(-1)
    assert own.worker.normaliser(black).item() == pytest.approx(-2)


def test_a_run_of_an_earlier_version_pooled_and_can_be_gone_on_with_and_attacked(
    trained, tiny_config, patterns, tiny_network, tmp_path
):
    config = tiny_config(absent=0.4, join=0.5, seed=2, normalization="pooled")
    objects = {"dataset": patterns, "model": tiny_network()}
    with pytest.raises(KeyboardInterrupt):
        train(config, out=tmp_path / "old", callbacks=[Stop()], **objects)
    folder = RunFolder(path=tmp_path / "old")
    as_an_earlier_version(folder)
    assert read_run_config(folder).normalization == "pooled"
    resumed = train(read_run_config(folder), out=folder.path, resume=True, **objects)
    assert weights_of(resumed) == weights_of(trained[0])
    assert resumed.summary["bytes"]["up_statistics"] == 0
    as_an_earlier_version(folder)
    opened = open_run(folder, objects=RunObjects(**objects))
    assert opened.prepared.settings.privacy.statistics == "pooled"
    white = torch.full((1, 1, 1, 1), 255, dtype=torch.uint8)
    again = prepare(config, objects=RunObjects(dataset=patterns, model=tiny_network())).worker.normaliser
    assert torch.equal(opened.prepared.worker.normaliser(white), again(white))
