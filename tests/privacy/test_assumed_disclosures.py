"""What may be said of weight updates under secure aggregation: that it is assumed, never that it is shown."""

import pytest

from dtfl_private.defenses.dp_weights import DpWeights
from dtfl_private.defenses.update_noise import UpdateNoise
from dtfl_private.privacy.disclosure import disclosures
from dtfl_private.privacy.ledger import charge
from dtfl_private.protection.cost import RoundRelease
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.protocol.assumptions import ASSUMPTIONS, instead_of, taken_away

SENTENCE = ASSUMPTIONS["secure-aggregation"].sentence


def said_of_weights(defense, ledgers=None, **values):
    entries = disclosures(DefenseChain(defense), ledgers or {}, **values)
    return [entry["sentence"] for entry in entries if entry["what"] == "weights"]


def test_what_is_assumed_stands_in_place_of_what_is_sent_in_clear():
    assert said_of_weights([]) == ["weight updates are sent in clear"]
    assert said_of_weights([], assumed=("secure-aggregation",)) == [SENTENCE]
    assert "assumed, not shown" in SENTENCE


def test_smashed_data_and_labels_are_told_of_as_before():
    plain, assumed = (disclosures(DefenseChain([]), {}, assumed=names) for names in ((), ("secure-aggregation",)))
    assert [e for e in plain if e["what"] != "weights"] == [e for e in assumed if e["what"] != "weights"]


@pytest.mark.parametrize("guaranteed", [False, True])
def test_what_else_holds_of_weights_is_said_too(guaranteed):
    defense = DpWeights(noise_multiplier=1.0) if guaranteed else UpdateNoise()
    released = RoundRelease(records=100, batch_size=10, steps=10, epochs=1)
    ledgers = {0: charge((), defense.guarantees(released))} if guaranteed else {}
    first, last = said_of_weights([defense], ledgers, assumed=("secure-aggregation",))
    assert last == SENTENCE
    assert ("-DP per record" in first) == guaranteed
    assert ("pass update-noise" in first) != guaranteed


def test_an_assumption_takes_one_thing_and_leaves_its_sum():
    taken = taken_away(["secure-aggregation"])
    assert taken == {"updates"}
    assert instead_of(frozenset({"updates", "smashed"}), taken) == {"aggregate", "smashed"}
    assert instead_of(frozenset({"updates"}), frozenset()) == {"updates"}
