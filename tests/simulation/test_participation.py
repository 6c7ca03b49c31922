import pytest

from tests.simulation.rounds_by_hand import MakeSchedule, play


@pytest.mark.parametrize(("fraction", "count"), [(1.0, 10), (0.3, 3), (0.34, 3), (0.01, 1)])
def test_a_fraction_of_the_clients_takes_part_each_once(make_schedule: MakeSchedule, fraction: float, count: int):
    groups = []
    for _, plan in play(make_schedule(fraction=fraction), 20):
        clients = plan.clients_P.tolist()
        assert clients == sorted(set(clients))
        assert len(clients) == count
        groups.append(tuple(clients))
    assert len(set(groups)) == 1 if count == 10 else len(set(groups)) > 5
    assert {client for group in groups for client in group} <= set(range(10))


def test_absent_clients_do_not_take_part(make_schedule: MakeSchedule):
    settings = make_schedule(environment={"absent": 0.4, "leave": 0.2, "join": 0.3}, fraction=0.5)
    sizes = set()
    for state, plan in play(settings, 30):
        assert state.environment.present_K[plan.clients_P].all()
        assert len(plan.clients_P) == max(1, round(0.5 * state.environment.present_K.sum()))
        sizes.add(len(plan.clients_P))
    assert len(sizes) > 1
