"""Which clients are connected, and which of them can play."""

import threading

import pytest

from dtfl_private.deployed.server.registry import Link, Registered, Registry
from dtfl_private.deployed.sessions.session import Session

LINK = Link(up_bytes_s=1e6, down_bytes_s=1e6, latency_s=0.001)
PATIENCE_S = 60.0


@pytest.fixture
def registry() -> Registry:
    return Registry(3)


def admitted(registry: Registry, client: int, images: int = 10) -> Session:
    session = Session("client", 1000)
    registry.admit(client, session, Registered(images=images))
    return session


def test_a_client_can_play_once_it_is_measured(registry):
    session = admitted(registry, 1)
    assert registry.connected() == [1]
    assert registry.present_K.tolist() == [False, False, False]
    registry.measured(1, session, LINK)
    assert registry.ready(1) is session
    assert registry.present_K.tolist() == [False, True, False]
    session.lose("gone")
    assert registry.ready(1) is None
    assert registry.connected() == []


def test_what_was_measured_of_a_session_does_not_count_for_the_next(registry):
    first = admitted(registry, 0)
    second = Session("client", 1000)
    assert registry.admit(0, second, Registered(images=10)) is first
    registry.measured(0, first, LINK)  # which was under way when the second came
    assert registry.ready(0) is None
    assert registry.session(0) is second


def test_a_session_that_has_ended_is_not_replaced_but_followed(registry):
    admitted(registry, 0).lose("gone")
    assert registry.admit(0, Session("client", 1000), Registered(images=10)) is None


def test_images_are_those_of_clients_that_have_come(registry):
    admitted(registry, 2, images=7).lose("gone")
    assert registry.images_K.tolist() == [0, 0, 7]


def test_whoever_waits_goes_on_as_soon_as_enough_are_there(registry):
    assert not registry.wait(1, timeout_s=0.0)
    found: list[bool] = []
    thread = threading.Thread(target=lambda: found.append(registry.wait(2, PATIENCE_S)))
    thread.start()
    admitted(registry, 0)
    admitted(registry, 1)
    thread.join(PATIENCE_S)
    assert found == [True]


def test_all_sessions_can_be_ended(registry):
    sessions = [admitted(registry, client) for client in range(3)]
    registry.lose_all("the server ends")
    assert [session.why_lost for session in sessions] == ["the server ends"] * 3
