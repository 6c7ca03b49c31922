"""Which of Flower's nodes is which client."""

from dtfl_private.deployed.flower.attendance import Attendance


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def attendance(clients=2):
    begun, said, clock = [], [], Clock()
    return Attendance(clients, lambda *who: begun.append(who), said.append, clock), begun, said, clock


def test_the_name_under_which_a_key_is_registered_says_which_client_it_is():
    made, begun, said, _ = attendance()
    made.seen({9: "client-0", 5: "client-1"})
    made.seen({9: "client-0", 5: "client-1"})
    assert sorted(begun) == [(5, 1), (9, 0)]
    assert said == []


def test_nodes_of_other_names_take_no_part_and_it_is_said_once():
    made, begun, said, _ = attendance()
    for _ in range(2):
        made.seen({1: "", 2: "client-2", 3: "client-00", 4: "server", 5: "client-1\n"})
    assert begun == []
    assert len(said) == 5
    assert said[0].startswith("node 1 of Flower takes no part: its name is '', this run has client-0 to client-1: ")


def test_of_two_nodes_of_one_name_one_takes_part_and_another_only_when_that_is_gone():
    made, begun, said, _ = attendance()
    made.seen({7: "client-0", 3: "client-0"})
    assert begun == [(3, 0)]
    assert said == ["node 7 of Flower takes no part: node 3 is registered as client-0 too"]
    made.seen({7: "client-0"})
    assert begun == [(3, 0)]  # the first may still be at it
    made.left(0, 0.0)
    made.seen({7: "client-0"})
    assert begun == [(3, 0), (7, 0)]


def test_a_client_that_has_left_is_asked_again_after_its_pause():
    made, begun, _, clock = attendance()
    made.seen({3: "client-0"})
    made.left(0, 5.0)
    clock.now_s = 4.9
    made.seen({3: "client-0"})
    assert len(begun) == 1
    clock.now_s = 5.0
    made.seen({3: "client-0"})
    assert len(begun) == 2
