"""Whose rounds are attacked: recorded ones, or the last one played again, as a server plays it."""

import json
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
from attack_reports import of
from fast_attacks import LeastSquares
from malicious_servers import Downgrade

from dtfl_private.attacking.base import AttackFacts
from dtfl_private.errors import InputError


def test_what_is_attacked_is_what_the_run_recorded(trained, mount):
    folder = trained(record_rounds=["last"], record_images=8, scheduler="static:2")
    recorded = mount(folder, [LeastSquares()])
    replayed = mount(folder, [LeastSquares()], replay=True, out=folder / "replayed")
    assert [r.value for r in recorded.results] == [r.value for r in replayed.results]
    with pytest.raises(InputError, match="nobody was in tier 1 in the recorded round: use --replay"):
        mount(folder, [LeastSquares()], tiers=[1])


def test_only_clients_in_their_own_tiers_if_that_is_asked(trained, mount):
    folder = trained(scheduler="static:2")
    assert {result.tier for result in mount(folder, [LeastSquares()], as_scheduled=True).results} == {2}
    with pytest.raises(InputError, match="nobody was in tier 3 in the last round: leave --as-scheduled out"):
        mount(folder, [LeastSquares()], as_scheduled=True, tiers=[3])


@dataclass(frozen=True, kw_only=True)
class LooksBack(LeastSquares):
    """Least squares that insists on other releases of the victims' records."""

    facts: ClassVar[AttackFacts] = replace(LeastSquares.facts, looks_back=True)

    def reconstruct(self, view):
        assert view.earlier
        return super().reconstruct(view)


def test_attacks_on_several_releases_are_for_tiers_whose_victims_were_sent_before(trained, mount):
    """Clients 0, 1, 2 end in tiers 2, 3, 1; one round earlier they were in 2, 2 and in that of the whole network."""
    folder = trained(method="dtfl-full", scheduler="random", seed=36, rounds=3, record_rounds=[2, 3])
    rounds = [json.loads(line)["tiers"] for line in (folder / "rounds.jsonl").read_text().splitlines()]
    assert rounds[1:] == [{"0": 2, "1": 2, "2": 4}, {"0": 2, "1": 3, "2": 1}]
    with pytest.raises(InputError, match=r"several releases .* of the victims in tier 1 there is one"):
        mount(folder, [LooksBack()])
    for replay in (False, True):  # replayed, the first victims are client 0's in every tier
        report = mount(folder, [LooksBack()], tiers=[2], replay=replay, out=folder / f"replay-{replay}")
        assert {result.tier for result in report.results} == {2}
    left = mount(folder, [LeastSquares(), LooksBack()], where_applicable=True)
    assert [(one.attack, one.tier) for one in left.left_out] == [("looks-back", 1)]
    assert {result.tier for result in left.results if result.source == "looks-back"} == {2, 3}


def test_a_malicious_server_is_played_out_by_the_clients(trained, mount):
    report = mount(trained(), [Downgrade(), LeastSquares()], tiers=[3], victims=24)
    assert of(report, "psnr", "downgrade").value > of(report, "psnr").value
    assert of(report, "psnr", "downgrade").adversary == "server-malicious"
    assert of(report, "refused", "downgrade").value == 0
