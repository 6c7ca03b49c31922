from dtfl_private.data.registration import NO_TRAFFIC
from dtfl_private.simulation.round_plan import planned_bytes, planned_macs
from dtfl_private.simulation.schedulers.baseline_schedulers import Random
from tests.simulation.rounds_by_hand import MakeSchedule, play


def test_bytes_and_macs_are_those_of_the_cost_table(make_schedule: MakeSchedule):
    settings = make_schedule(environment={"dropout": 0.4}, scheduler=Random(), local_epochs=2)
    rows = {row.tier: row for row in settings.table.rows}
    for _, plan in play(settings, 5):
        totals = {"down_weights": 0, "up_weights": 0, "up_smashed": 0, "up_labels": 0}
        totals |= {"up_statistics": 11, "down_statistics": 7} if plan.round == 1 else NO_TRAFFIC
        macs = {"client": 0, "server": 0}
        for place, tier in enumerate(plan.tiers_P.tolist()):
            images = int(plan.images_P[place])
            totals["down_weights"] += rows[tier].weight_bytes
            totals["up_weights"] += 0 if plan.dropped_P[place] else rows[tier].weight_bytes
            totals["up_smashed"] += images * rows[tier].smashed_bytes
            totals["up_labels"] += images * 8
            macs["client"] += images * rows[tier].client_train_macs
            macs["server"] += images * rows[tier].server_train_macs
        assert planned_bytes(plan, settings.table, {"up_statistics": 11, "down_statistics": 7}) == totals
        assert planned_macs(plan, settings.table) == macs
    assert plan.dropped_P.any()
