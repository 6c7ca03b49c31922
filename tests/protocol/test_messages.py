import dataclasses

import pytest
import torch

from dtfl_private.protocol.messages import (
    ModelDownload,
    SmashedBatch,
    Transcript,
    WeightUpdate,
    state_bytes,
    tensor_bytes,
)


def batch(smashed: torch.Tensor, labels: torch.Tensor) -> SmashedBatch:
    return SmashedBatch(client=1, round=2, tier=3, batch=4, smashed=smashed, labels=labels)


STATE = {"w": torch.zeros(3, 4), "steps": torch.tensor(7), "half": torch.zeros(5, dtype=torch.bfloat16)}
STATE_BYTES = 3 * 4 * 4 + 8 + 5 * 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64, torch.uint8, torch.int64, torch.bool])
def test_a_tensor_weighs_what_numpy_would_store(dtype):
    tensor = torch.zeros(2, 3, 5, dtype=dtype)
    assert tensor_bytes(tensor) == tensor.contiguous().view(torch.uint8).numel()


def test_a_view_weighs_its_elements_and_not_its_storage():
    assert tensor_bytes(torch.zeros(100)[::10]) == 10 * 4
    assert tensor_bytes(torch.zeros(1, 3).expand(50, 3)) == 150 * 4


def test_a_state_weighs_the_sum_of_its_tensors():
    assert state_bytes(STATE) == STATE_BYTES
    assert state_bytes({}) == 0


def test_a_batch_weighs_activations_and_labels_apart():
    message = batch(torch.zeros(6, 2, 3, 3, dtype=torch.bfloat16), torch.zeros(6, dtype=torch.int64))
    assert message.smashed_bytes == 6 * 2 * 3 * 3 * 2
    assert message.label_bytes == 6 * 8


@pytest.mark.parametrize(
    "message",
    [
        ModelDownload(client=0, round=1, tier=1, weights=STATE, head={"fc": torch.zeros(2)}),
        WeightUpdate(client=0, round=1, tier=1, examples=9, weights=STATE, head={"fc": torch.zeros(2)}),
    ],
)
def test_weights_and_head_travel_together(message):
    assert message.weight_bytes == STATE_BYTES + 2 * 4


def test_a_batch_needs_a_label_for_each_activation():
    with pytest.raises(ValueError, match="4 activations but 3 labels"):
        batch(torch.zeros(4, 2), torch.zeros(3, dtype=torch.int64))


def test_smashed_data_that_carry_a_gradient_do_not_cross_the_boundary():
    with pytest.raises(ValueError, match="must be detached"):
        batch(torch.zeros(4, 2, requires_grad=True) * 2, torch.zeros(4, dtype=torch.int64))


def test_a_message_cannot_be_changed_but_by_a_new_one():
    message = batch(torch.zeros(4, 2), torch.zeros(4, dtype=torch.int64))
    with pytest.raises(dataclasses.FrozenInstanceError):
        message.smashed = torch.ones(4, 2)
    with pytest.raises(ValueError, match="4 activations but 2 labels"):
        dataclasses.replace(message, labels=torch.zeros(2, dtype=torch.int64))


def test_a_transcript_keeps_the_messages_themselves_in_order():
    transcript = Transcript()
    messages = [batch(torch.zeros(1, 1), torch.tensor([label])) for label in range(3)]
    for message in messages:
        transcript.record(message)
    assert [id(message) for message in transcript.messages] == [id(message) for message in messages]


def test_transcripts_share_nothing():
    first, second = Transcript(), Transcript()
    first.record(batch(torch.zeros(1, 1), torch.tensor([0])))
    assert second.messages == []
