import json
from dataclasses import dataclass, replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from dtfl_private.errors import InputError
from dtfl_private.privacy.ledger import LedgerEntries, charge, from_json, to_json
from dtfl_private.protocol.guarantees import (
    GaussianRelease,
    Kind,
    NoisyInputs,
    PrivacyTarget,
    RandomizedResponse,
    ReconstructionBound,
    SampledGaussian,
    Undefended,
)

positive = st.sampled_from([0.3, 1.0, 1.7, 20.0])
targets = st.builds(PrivacyTarget, delta=st.sampled_from([1e-5, 1e-6]), epsilon=st.sampled_from([None, 8.0]))
counts = st.integers(0, 1000)
guarantees = st.one_of(
    st.builds(
        SampledGaussian,
        noise_multiplier=positive,
        sampling_rate=st.sampled_from([0.01, 0.5, 1.0]),
        steps=counts,
        target=targets,
    ),
    st.builds(GaussianRelease, noise_multiplier=positive, releases=counts, target=targets),
    st.builds(
        GaussianRelease,
        noise_multiplier=positive,
        releases=counts,
        target=targets,
        places=st.sampled_from([1, 64]),
        apart=st.booleans(),
    ),
    st.builds(NoisyInputs, noise_multiplier=positive, releases=counts, repeated=st.just(False), target=targets),
    st.builds(NoisyInputs, noise_multiplier=positive, releases=st.just(1), repeated=st.just(True), target=targets),
    st.builds(RandomizedResponse, epsilon=positive),
    st.builds(ReconstructionBound, mse=positive, releases=counts),
    st.builds(Undefended, instead_of=st.sampled_from(get_args(Kind)), rounds=counts),
)
rounds = st.lists(guarantees, max_size=12)

STEPS = SampledGaussian(
    noise_multiplier=1.1, sampling_rate=0.04, steps=25, target=PrivacyTarget(delta=1e-5, epsilon=8.0)
)
RELEASE = GaussianRelease(noise_multiplier=10.0, releases=1, target=PrivacyTarget(delta=1e-5))
DRAW = RandomizedResponse(epsilon=2.0)
BOUND = ReconstructionBound(mse=0.5, releases=1)


def total(ledger):
    adding = [entry for entry in ledger if not getattr(entry, "repeated", False)]
    return sum(getattr(entry, "steps", getattr(entry, "releases", getattr(entry, "rounds", 0))) for entry in adding)


@given(rounds, rounds)
def test_charging_in_two_goes_is_charging_at_once(first, second):
    assert charge(charge((), first), second) == charge((), [*first, *second])


@given(rounds)
def test_a_ledger_holds_each_mechanism_once_and_loses_no_step(entries):
    ledger = charge((), entries)
    assert charge(ledger, ()) == ledger
    assert total(ledger) == total(entries)
    assert len(ledger) <= len(set(entries)) or not entries


@given(rounds, st.randoms(use_true_random=False))
def test_the_order_of_the_rounds_does_not_matter(entries, random):
    shuffled = list(entries)
    random.shuffle(shuffled)
    assert set(charge((), shuffled)) == set(charge((), entries))


@given(rounds)
def test_a_ledger_survives_json_exactly(entries):
    ledger = charge((), entries)
    assert from_json(json.loads(json.dumps(to_json(ledger)))) == ledger


def test_equal_mechanisms_add_up_and_a_memoised_draw_counts_once():
    ledger = charge((), [STEPS, RELEASE, DRAW, BOUND])
    ledger = charge(ledger, [STEPS, RELEASE, DRAW, BOUND])
    assert [entry.steps for entry in ledger if isinstance(entry, SampledGaussian)] == [50]
    assert [entry.releases for entry in ledger if not isinstance(entry, SampledGaussian | RandomizedResponse)] == [2, 2]
    assert ledger.count(DRAW) == 1


def test_noise_on_inputs_counts_each_draw_and_a_repeated_one_once():
    fresh = NoisyInputs(noise_multiplier=2.0, releases=3, repeated=False, target=RELEASE.target)
    once = NoisyInputs(noise_multiplier=2.0, releases=1, repeated=True, target=RELEASE.target)
    assert charge((), [fresh, once, fresh, once]) == (replace(fresh, releases=6), once)
    (entry,) = to_json((once,))
    with pytest.raises(ValueError, match="noise that is repeated is one release, not 2"):
        from_json([{**entry, "releases": 2}])


def test_releases_of_places_keep_their_unit_and_those_of_older_files_are_of_records():
    of_places = replace(RELEASE, places=16, apart=True)
    ledger = charge((), [RELEASE, of_places, replace(of_places, apart=False), of_places])
    assert [entry.releases for entry in ledger] == [1, 2, 1]
    assert from_json(to_json(ledger)) == ledger
    older = [
        {"kind": "GaussianRelease", "noise_multiplier": 10.0, "releases": 1, "target": to_json(ledger)[0]["target"]}
    ]
    assert from_json(older) == (RELEASE,)
    for change in ({"places": 0}, {"places": 2.0}, {"places": None}, {"apart": 1}):
        with pytest.raises(ValueError, match="not a privacy ledger"):
            from_json([{**to_json(ledger)[1], **change}])


def test_different_mechanisms_and_targets_stay_apart():
    others = [
        SampledGaussian(noise_multiplier=1.2, sampling_rate=0.04, steps=25, target=STEPS.target),
        SampledGaussian(noise_multiplier=1.1, sampling_rate=0.05, steps=25, target=STEPS.target),
        SampledGaussian(noise_multiplier=1.1, sampling_rate=0.04, steps=25, target=PrivacyTarget(delta=1e-5)),
        RandomizedResponse(epsilon=3.0),
    ]
    assert charge((), [STEPS, DRAW, *others]) == (STEPS, DRAW, *others)


def test_what_it_does_not_know_it_refuses():
    @dataclass(frozen=True)
    class Hope:
        epsilon: float = 0.1

    with pytest.raises(InputError, match="of type Hope, which cannot be accounted for"):
        charge((), [Hope()])


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"kind": "Hope"}, "0"),
        ({"noise_multiplier": 0.0}, "noise_multiplier"),
        ({"noise_multiplier": float("nan")}, "noise_multiplier"),
        ({"noise_multiplier": float("inf")}, "noise_multiplier"),
        ({"noise_multiplier": "1.1"}, "noise_multiplier"),
        ({"sampling_rate": 1.5}, "sampling_rate"),
        ({"sampling_rate": 0.0}, "sampling_rate"),
        ({"steps": -1}, "steps"),
        ({"steps": 2.5}, "steps"),
        ({"steps": True}, "steps"),
        ({"steps": 2**60}, "steps"),
        ({"target": {"delta": 0.0, "epsilon": None}}, "delta"),
        ({"target": {"delta": 1e-5, "epsilon": -1.0}}, "epsilon"),
        ({"target": {"delta": 1e-5}}, "epsilon"),
        ({"forgotten": 1}, "forgotten"),
    ],
)
def test_nothing_else_is_read_as_a_ledger(change, where):
    (entry,) = to_json((STEPS,))
    with pytest.raises(ValueError, match=rf"not a privacy ledger: .*{where}"):
        from_json([{**entry, **change}])


@pytest.mark.parametrize("entries", [None, {}, "[]", [[]], [1]])
def test_nor_is_something_of_another_shape(entries):
    with pytest.raises(ValueError, match="not a privacy ledger"):
        from_json(entries)


def test_a_mechanism_listed_twice_or_an_endless_list_is_damage():
    (entry,) = to_json((STEPS,))
    with pytest.raises(ValueError, match="listed twice"):
        from_json([entry, entry])
    with pytest.raises(ValueError, match="at most 10000"):
        from_json([entry] * 10_001)


def test_it_is_a_field_of_a_pydantic_model():
    class Saved(BaseModel):
        ledgers: dict[int, LedgerEntries]

    saved = Saved(ledgers={3: (STEPS, DRAW), 4: ()})
    assert Saved.model_validate_json(saved.model_dump_json()) == saved
    with pytest.raises(ValidationError, match="not a privacy ledger"):
        Saved.model_validate_json('{"ledgers": {"3": [{"kind": "Hope"}]}}')
