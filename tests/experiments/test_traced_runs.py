"""Runs on traced devices and with other kinds of drift: planned, trained, resumed, refused."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from interrupted_runs import EVENTFUL, Notes, left_behind

from dtfl_private.deployed.deployable import require_deployable
from dtfl_private.errors import InputError
from dtfl_private.experiments.config.train_config import make_config
from dtfl_private.experiments.plan import plan
from dtfl_private.experiments.setup.schedule_settings import environment_settings, schedule_settings
from dtfl_private.simulation.schedule_round import schedule_round
from dtfl_private.simulation.schedule_state import ScheduleState
from dtfl_private.simulation.schedulers.baseline_schedulers import Static

FILE = Path(__file__).parent.parent / "simulation" / "clients" / "traces" / "two_devices.json"
DAY_S = 600


@pytest.fixture
def shifts(tmp_path) -> Path:
    """Traces of two clients, one there in the first half of each day, one in the second."""
    path = tmp_path / "shifts.json"
    spans = {"early": (0, DAY_S // 2 - 1), "late": (DAY_S // 2, DAY_S - 1)}
    entries = {name: {"active": [a], "inactive": [b], "finish_time": DAY_S} for name, (a, b) in spans.items()}
    path.write_text(json.dumps({"client_behave_trace": entries}))
    return path


def test_who_takes_part_follows_the_simulated_time(shifts):
    config = make_config({"clients": 2, "rounds": 60, "traces": str(shifts), "cpu_gmacs": 0.003, "profiles": "uniform"})
    planned = plan(config, input_shape=(1, 8, 8))
    settings = schedule_settings(config, planned.table, Static(1), np.array([500, 500]))
    early = int(settings.environment.availability.waits_s(0.0).argmin())
    state, seen = ScheduleState.start(settings), []
    for number in range(1, 61):
        began_s = state.clock.now_s
        state, played = schedule_round(state, settings, number)
        expected = early if began_s % DAY_S <= DAY_S // 2 - 1 else 1 - early
        assert played.clients_P.tolist() == [expected]
        seen.append(expected)
    assert min(seen.count(0), seen.count(1)) > 15
    assert all(row.participants == 1 for row in planned.rounds)
    assert any("clients are there by 2 of its 2 traces of use" in note for note in planned.notes)


def test_a_round_waits_for_the_first_client_and_the_oracle_as_long(tmp_path):
    path = tmp_path / "t.json"
    night = {"active": [300], "inactive": [300], "finish_time": DAY_S}
    path.write_text(json.dumps({"client_behave_trace": {"a": night}}))
    values = {"clients": 3, "rounds": 2, "profiles": "uniform", "first_tier": "deepest"}
    waiting, free = (plan(make_config({**values, **more})) for more in ({"traces": str(path)}, {}))
    assert waiting.rounds[0].round_time_s == pytest.approx(free.rounds[0].round_time_s + 300)
    assert waiting.rounds[0].oracle_time_s == pytest.approx((free.rounds[0].oracle_time_s or 0) + 300)
    # The second begins when the third client of the same trace comes again: a day later.
    started_s = waiting.rounds[1].virtual_time_s - free.rounds[1].round_time_s
    assert started_s == pytest.approx(300 + DAY_S)


def test_devices_of_traces_take_the_place_of_profiles_and_exclude_them():
    values = {"clients": 5, "traces": str(FILE)}
    names = [one.name for one in environment_settings(make_config(values)).profiles]
    assert sorted(names) == ["device 432802", "device 7"]
    with pytest.raises(InputError, match=r"profiles and the devices of the traces file .* exclude each other"):
        plan(make_config({**values, "profiles": "uniform"}))
    with pytest.raises(InputError, match=r"link_unit mbyte reads profiles; links of traces are in kbit/s"):
        plan(make_config({**values, "link_unit": "mbyte"}))
    with pytest.raises(InputError, match=r"unknown profile .*4 CPU, 100 Mbps.*device"):
        plan(make_config({**values, "defense": ["gaussian-noise:sd=1@profile=4 CPU, 100 Mbps"]}))


@pytest.mark.parametrize(
    ("values", "said"),
    [({"traces": "t.json"}, "traces = t.json is simulated"), ({"drift": "ramps"}, "drift = ramps is simulated")],
)
def test_a_deployed_run_has_neither_traces_nor_drift(values, said):
    with pytest.raises(InputError, match=said):
        require_deployable(make_config(values))


def test_the_oracle_is_always_right_and_a_fixed_tier_sometimes():
    values = {"clients": 8, "rounds": 12, "drift": "day-night", "drift_share": 0.6, "drift_every": 5, "noise": 0.2}
    right, fixed, lagging = (
        plan(make_config({**values, "scheduler": scheduler})) for scheduler in ("oracle", "static:4", "dynamic")
    )
    assert right.tier_accuracy == 1.0
    assert right.regret(right.virtual_time_s) == pytest.approx(0.0, abs=1e-12)
    # A fixed tier is right where the oracle names it: counted by hand.
    by_oracle = sum(row.tier_counts.get(4, 0) for row in right.rounds)
    assert fixed.tier_accuracy == by_oracle / (8 * 12)
    assert 0 < by_oracle < 8 * 12
    assert lagging.tier_accuracy is not None
    assert 0 < lagging.tier_accuracy < 1
    assert plan(make_config({**values, "method": "fedavg"})).tier_accuracy is None


@pytest.mark.parametrize(
    "changes", [{"drift": "ramps", "drift_every": 3}, {"traces": str(FILE)}, {"drift": "day-night"}], ids=str
)
def test_a_resumed_run_is_the_uninterrupted_one(run_tiny, tmp_path, changes):
    values = {**EVENTFUL, **changes}
    run_tiny(tmp_path / "whole", **values)
    with pytest.raises(KeyboardInterrupt):
        run_tiny(tmp_path / "cut", callbacks=[Notes(("finished", 2))], **values)
    run_tiny(tmp_path / "cut", resume=True, **values)
    assert left_behind(tmp_path / "cut") == left_behind(tmp_path / "whole")


def test_a_run_records_the_hash_of_its_traces_and_goes_on_with_no_others(run_tiny, tmp_path):
    path = tmp_path / "t.json"
    path.write_bytes(FILE.read_bytes())
    values = {**EVENTFUL, "rounds": 2, "traces": str(path)}
    run = run_tiny(tmp_path / "run", **values)
    assert run.config.traces == f"{path}:sha256={hashlib.sha256(path.read_bytes()).hexdigest()}"
    assert run.config.profiles == "paper"
    path.write_text(FILE.read_text().replace("162.0", "163.0"))
    with pytest.raises(InputError, match=r"has another configuration \(traces: .*sha256=.* -> .*sha256="):
        run_tiny(tmp_path / "run", resume=True, **values)
    with pytest.raises(InputError, match="name the file that the run was begun with"):
        run_tiny(tmp_path / "again", **{**values, "traces": run.config.traces})
    assert not (tmp_path / "again").exists()
