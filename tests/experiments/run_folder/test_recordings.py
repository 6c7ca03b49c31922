import json
from dataclasses import replace

import pytest
import safetensors.torch
import torch

from dtfl_private.errors import RunError
from dtfl_private.experiments.run_folder.recordings import (
    load_seen,
    load_truth,
    recorded_rounds,
    save_recording,
    save_truth,
)
from dtfl_private.protocol.messages import ModelDownload, Seen, SmashedBatch, WeightUpdate, Wire
from dtfl_private.training.recording import Recording, Truth

AT = {"client": 3, "round": 12, "tier": 2}


def a_recording(*, update: bool = True, wire: Wire | None = None) -> Recording:
    weights = {"md1.weight": torch.randn(4, 1, 3, 3), "md1.count": torch.tensor(7)}
    head = {"fc.weight": torch.randn(3, 4)}
    batches = tuple(
        SmashedBatch(
            **AT,
            batch=number,
            smashed=torch.randn(2, 4, 8, 8).bfloat16(),
            labels=torch.tensor([0, 2]),
            packed_bytes=5 if number else None,
        )
        for number in range(2)
    )
    sent = WeightUpdate(**AT, examples=9, weights=weights, head=head) if update else None
    truth = Truth(
        images=torch.randint(256, (4, 1, 8, 8), dtype=torch.uint8),
        labels=torch.tensor([0, 2, 0, 2]),
        records=torch.arange(4),
    )
    seen = Seen(download=ModelDownload(**AT, weights=weights, head=head, wire=wire), batches=batches, update=sent)
    return Recording(seen=seen, truth=truth, remarks=())


@pytest.mark.parametrize("update", [True, False])
def test_a_recording_comes_back_as_it_was(tmp_path, update):
    recording = a_recording(update=update, wire="int4" if update else None)
    save_recording(tmp_path, recording)
    save_recording(tmp_path, recording)
    assert recorded_rounds(tmp_path) == [(12, 3)]
    seen, truth = load_seen(tmp_path, 12, 3), load_truth(tmp_path, 12, 3)
    for mine, theirs in zip(recording.seen.batches, seen.batches, strict=True):
        assert torch.equal(mine.smashed, theirs.smashed)
        assert mine.smashed.dtype == theirs.smashed.dtype
        assert torch.equal(mine.labels, theirs.labels)
        assert (mine.batch, mine.tier, mine.packed_bytes) == (theirs.batch, theirs.tier, theirs.packed_bytes)
    assert {name: t.tolist() for name, t in seen.download.weights.items()} == {
        name: t.tolist() for name, t in recording.seen.download.weights.items()
    }
    assert (seen.update is not None) == update
    assert seen.download.wire == ("int4" if update else None)
    assert update is False or seen.update.examples == 9
    assert torch.equal(truth.images, recording.truth.images)
    assert torch.equal(truth.records, recording.truth.records)


def test_what_was_seen_holds_nothing_of_the_truth(tmp_path):
    recording = a_recording()
    save_recording(tmp_path, recording)
    (file,) = (tmp_path / "seen").iterdir()
    tensors = safetensors.torch.load_file(file)
    assert not any(name.startswith(("images", "records", "truth")) for name in tensors)
    assert recording.truth.images.numpy().tobytes() not in file.read_bytes()


@pytest.mark.parametrize("part", ["seen", "truth"])
@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda _: b"", lambda _: b"\xff" * 100])
def test_a_damaged_file_is_named(tmp_path, part, damage):
    save_recording(tmp_path, a_recording())
    (file,) = (tmp_path / part).iterdir()
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(RunError, match="is damaged"):
        (load_seen if part == "seen" else load_truth)(tmp_path, 12, 3)


@pytest.mark.parametrize("names", [("labels",), ("images", "labels", "records")])
def test_truth_of_single_numbers_is_none(tmp_path, names):
    truth = replace(a_recording().truth, **{name: torch.tensor(7, dtype=torch.uint8) for name in names})
    save_truth(tmp_path, 12, 3, truth)
    with pytest.raises(RunError, match="do not go together"):
        load_truth(tmp_path, 12, 3)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(RunError, match=r"round-000001-client-0\.safetensors is missing"):
        load_seen(tmp_path, 1, 0)


def test_a_file_under_another_name_is_refused(tmp_path):
    save_recording(tmp_path, a_recording())
    (file,) = (tmp_path / "seen").iterdir()
    file.rename(file.with_name("round-000013-client-3.safetensors"))
    with pytest.raises(RunError, match="it is of round 12 and client 3"):
        load_seen(tmp_path, 13, 3)


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {**AT, "batches": [0, 1], "packed_bytes": [None], "examples": 9},
        {**AT, "batches": [0, 1, 2], "packed_bytes": [None] * 3, "examples": 9},
        {**AT, "tier": -1, "batches": [0], "packed_bytes": [None], "examples": 9},
        {**AT, "batches": [0], "packed_bytes": [None], "examples": 9, "wire": "int2"},
    ],
)
def test_numbers_that_do_not_fit_are_refused(tmp_path, facts):
    save_recording(tmp_path, a_recording())
    (file,) = (tmp_path / "seen").iterdir()
    tensors = safetensors.torch.load_file(file)
    file.write_bytes(safetensors.torch.save(tensors, metadata={"recording": json.dumps(facts)}))
    with pytest.raises(RunError, match="is damaged"):
        load_seen(tmp_path, 12, 3)
