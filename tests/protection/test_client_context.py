import dataclasses

import pytest
import torch

from dtfl_private.protection.client_context import ClientRound, known_memory


def a_round(**values) -> ClientRound:
    return ClientRound(seed=3, client=1, round=2, tier=1, records=9, classes=2, **values)


def draws(at: ClientRound) -> list[float]:
    return torch.rand(4, generator=at.chance).tolist()


def test_a_round_cannot_be_changed_from_outside():
    for field in ("client", "download", "forward"):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(a_round(), field, None)


def test_chance_goes_on_from_batch_to_batch_and_is_each_members_own():
    at, other = a_round(), a_round()
    whole = [*draws(other.member(0)), *draws(other.member(0))]
    first, second = (at.during(torch.tanh, torch.zeros(2)).member(0) for _ in range(2))
    assert [*draws(first), *draws(second)] == whole
    assert draws(at.member(1)) != whole[:4]
    assert draws(a_round().member(0)) == whole[:4]


def test_what_a_member_keeps_during_a_batch_is_there_afterwards_and_in_the_next_round():
    at = a_round(memory={"1/kept": torch.ones(1), "0/other": torch.zeros(1)})
    assert list(at.member(1).memory) == ["kept"]
    at.during(torch.tanh, torch.zeros(2)).member(1).memory["new"] = torch.full((1,), 5.0)
    assert sorted(at.member(1).memory) == ["kept", "new"]
    at.member(0)
    assert sorted(at.remembered()) == ["0/other", "1/kept", "1/new"]
    later = a_round(memory=dict(at.remembered()))
    assert later.member(1).memory["new"].item() == 5.0


def test_the_forward_pass_is_there_during_a_batch_only():
    at, inputs = a_round(), torch.ones(2)
    assert at.forward is None
    forward = at.during(torch.tanh, inputs).member(0).forward
    assert forward is not None
    assert forward.inputs is inputs
    assert torch.equal(forward.encoder(inputs), torch.tanh(inputs))
    assert at.member(0).forward is None


def test_scratch_lasts_through_the_round_and_no_longer_and_is_each_members_own():
    at = a_round()
    at.during(torch.tanh, torch.zeros(2)).member(1).scratch["seen"] = torch.ones(1)
    assert list(at.member(1).scratch) == ["seen"]
    assert not at.member(0).scratch
    assert not at.scratch
    assert not at.remembered()


def test_records_are_there_while_their_inputs_are_made_ready():
    at = a_round()
    fetched = at.fetching(torch.tensor([4, 7])).member(0).batch_records
    assert fetched is not None
    assert fetched.tolist() == [4, 7]
    assert at.member(0).batch_records is None


def test_an_adversary_knows_of_a_memory_what_is_named_so():
    kept = {name: torch.ones(1) for name in ("known/1/scale", "0/known/a", "1/2/known/b", "0/unknown/c", "0/d")}
    assert sorted(known_memory(kept)) == ["0/known/a", "1/2/known/b", "known/1/scale"]
