"""What defenses with rules add to the cost table."""

import pytest

from dtfl_private.errors import InputError
from dtfl_private.protection.defended_costs import cut_of, defended
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.protection.defense_rule import Case
from dtfl_private.protection.named_defense import make_defense

INPUT, BATCH = (3, 32, 32), 8
CASES = [Case(tier=tier, profile=profile) for tier in range(1, 5) for profile in ("phone", "laptop")]


def chain(*texts: str) -> DefenseChain:
    return DefenseChain(map(make_defense, texts)).among(CASES)


def test_each_tier_has_the_work_and_bytes_of_what_acts_there(four_tiers):
    table = defended(four_tiers, chain("quantize@tier<=2", "adversarial-decoder@tier=2-3"), INPUT, BATCH)
    quantize, decoder = make_defense("quantize"), make_defense("adversarial-decoder")
    for before, after in zip(four_tiers.rows, table.rows, strict=True):
        cut = cut_of(before, INPUT, BATCH)
        packed = quantize.wire_bytes(cut) if before.tier <= 2 else before.smashed_bytes
        work = decoder.extra_macs(cut) if before.tier in (2, 3) else 0
        assert after.smashed_bytes == packed
        assert after.client_train_macs == before.client_train_macs + work


def test_where_clients_of_a_tier_differ_the_costliest_counts(four_tiers):
    table = defended(four_tiers, chain("quantize@profile=phone", "adversarial-decoder@profile=phone"), INPUT, BATCH)
    decoder = make_defense("adversarial-decoder")
    for before, after in zip(four_tiers.rows, table.rows, strict=True):
        work = decoder.extra_macs(cut_of(before, INPUT, BATCH))
        assert (after.smashed_bytes, after.client_train_macs) == (before.smashed_bytes, before.client_train_macs + work)


def test_a_cut_is_refused_only_where_the_defense_would_act(four_tiers):
    rows = four_tiers.rows
    patch = next(m for row in rows[:1] for m in [row.cut_shape[-1] + 1])
    refused = f"patch-shuffle:patch={patch}"
    with pytest.raises(InputError):
        defended(four_tiers, chain(f"{refused}@tier=1"), INPUT, BATCH)
    with pytest.raises(InputError):
        defended(four_tiers, chain(refused), INPUT, BATCH)
    assert defended(four_tiers, chain(f"{refused}@tier=1").at(3), INPUT, BATCH) == four_tiers
