"""Sweeps whose runs are attacked: what leaks of each client, and what is there is not attacked again."""

from pathlib import Path

import pytest

from dtfl_private.attacking.attack_config import AttackConfig
from dtfl_private.attacking.runner import attack
from dtfl_private.auditing import client_sweep
from dtfl_private.auditing.client_leakage import require_names
from dtfl_private.auditing.client_sweep import attack_sweep
from dtfl_private.errors import InputError
from dtfl_private.experiments.attack_table import AttackTable
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.planned_run import PlannedRun
from dtfl_private.experiments.train import train

NAME = "dirichlet-seed3"
MEMBERS = AttackTable(
    attacks=["membership-matching"], aux=["same", "mixture", "client:1"], aux_images=30, tiers=[1, 4], each=8
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> tuple[Path, list[PlannedRun]]:
    """A sweep's folder with one run of three clients, of one round."""
    folder = tmp_path_factory.mktemp("sweep")
    small = {"dataset": "digits:size=8", "max_train_images": 90, "clients": 3, "rounds": 1, "batch_size": 8}
    config = TrainConfig(**small, partition="dirichlet:alpha=0.5,floor=8", device="cpu", workers=1, seed=3)
    train(config, out=folder / NAME)
    return folder, [PlannedRun(name=NAME, config=config)]


@pytest.fixture(scope="module")
def done(runs):
    return attack_sweep("a study", runs[1], (MEMBERS,), runs[0], parallel=1)


def test_each_client_is_attacked_at_each_tier_by_each_adversary(done):
    found = {(point.client, point.tier, point.aux) for point in done.points}
    everywhere = {(client, tier, aux) for client in range(3) for tier in (1, 4) for aux in ("same", "mixture")}
    assert found == everywhere | {(client, tier, "client:1") for client in (0, 2) for tier in (1, 4)}
    assert {(point.group, point.seed, point.metric) for point in done.points} == {("dirichlet", 3, "auc")}
    by_client = {point.client: (point.records, point.label_entropy, point.oddness) for point in done.points}
    assert sum(records for records, _, _ in by_client.values()) == 90
    for point in done.points:
        assert by_client[point.client] == (point.records, point.label_entropy, point.oddness)
        assert point.recovered == pytest.approx(2 * point.value - 1)


def test_a_client_s_figure_is_that_of_the_attack_command(done, runs, tmp_path):
    config = AttackConfig(
        attacks=("membership-matching",),
        tiers=(4,),
        clients=(2,),
        aux="mixture",
        aux_images=30,
        victims=8,
        seeds=1,
        effort="quick",
        threads=1,
    )
    report = attack(runs[0] / NAME, config, out=tmp_path / "out", pictures=False)
    (own,) = [point for point in done.points if (point.client, point.tier, point.aux) == (2, 4, "mixture")]
    (auc,) = [result.value for result in report.results if result.metric == "auc"]
    assert own.value == pytest.approx(auc)


def test_where_clients_are_attacked_together_each_has_the_figure_of_its_own_records(runs, tmp_path):
    folder, planned = runs
    (tmp_path / NAME).symlink_to(folder / NAME)
    attacks = ["decoder:size=small,steps=5"]
    table = AttackTable(attacks=attacks, aux_images=30, tiers=[4], each=8)
    own = attack_sweep("a study", planned, (table,), tmp_path, parallel=1).points
    assert [(point.client, point.n) for point in own] == [(0, 8), (1, 8), (2, 8)]
    assert len({point.value for point in own}) == 3

    few = {"tiers": (4,), "aux_images": 30, "victims": 24, "seeds": 1, "effort": "quick", "threads": 1}
    report = attack(folder / NAME, AttackConfig(attacks=tuple(attacks), **few), out=tmp_path / "out", pictures=False)
    (ssim,) = [result.value for result in report.results if (result.source, result.metric) == ("decoder", "ssim")]
    assert sum(point.value for point in own) / 3 == pytest.approx(ssim)


def test_what_is_there_is_not_attacked_again_and_what_is_another_s_is_refused(done, runs, monkeypatch):
    folder, planned = runs
    monkeypatch.setattr(client_sweep, "open_run", lambda *_, **__: pytest.fail("attacked again"))
    assert attack_sweep("a study", planned, (MEMBERS,), folder, parallel=1).points == done.points
    other = MEMBERS.model_copy(update={"each": 9})
    with pytest.raises(InputError, match=r"is of other attacks or of another training: remove it"):
        attack_sweep("a study", planned, (other,), folder, parallel=1)


@pytest.mark.parametrize("data", [b"{}", b"[", b"\xff", b'{"asked": "", "left_out": [], "rows": [{"client": -1}]}'])
def test_a_damaged_file_is_refused_in_one_line(runs, tmp_path, data):
    (tmp_path / f"{NAME}.clients.json").write_bytes(data)
    with pytest.raises(InputError, match=r"leakage by client '.*' cannot be read: .*: remove it"):
        attack_sweep("a study", runs[1], (MEMBERS,), tmp_path, parallel=1)


def test_what_cannot_be_mounted_is_said_with_the_reason(runs, tmp_path):
    folder, planned = runs
    (tmp_path / NAME).symlink_to(folder / NAME)
    tables = (
        AttackTable(attacks=["label-inference", "label-counts"], tiers=[1]),
        AttackTable(attacks=["membership-matching"], aux=["mixture"], aux_images=11, tiers=[1], each=8),
    )
    found = attack_sweep("a study", planned, tables, tmp_path, parallel=1)
    assert found.points == []
    assert any("label-inference infers labels behind protected ones" in line for line in found.left_out)
    assert any("label-counts" in line for line in found.left_out)
    assert any("client 2: 11 auxiliary images are too few" in line for line in found.left_out)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"attacks": ["decodr"]}, "unknown attack"),
        ({"attacks": ["decoder"], "effort": "lazy"}, "effort"),
        ({"attacks": ["decoder"], "aux": ["all"]}, "is none of same, mixture"),
        ({"attacks": ["decoder"], "aux": ["shifted:digits"]}, "it is of same, mixture, client:K, none"),
    ],
)
def test_names_are_checked_before_anything_is_trained(values, why):
    with pytest.raises(InputError, match=why):
        require_names([AttackTable(**values)])
