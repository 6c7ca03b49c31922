"""How sessions begin: who is not taken is told why, and of two with one certificate the newer one stays."""

import threading
from importlib.metadata import version
from types import SimpleNamespace

import numpy as np
import pytest

from dtfl_private.deployed.server.greeting import MOST_IMAGES, REPLACED, Greeter, Greeting
from dtfl_private.deployed.server.opening import Opening
from dtfl_private.deployed.server.registry import Registered, Registry
from dtfl_private.deployed.sessions.session import Session
from dtfl_private.deployed.sessions_file import ClientSession
from dtfl_private.deployed.wire.frames import decode, encode
from dtfl_private.deployed.wire.kinds import Goodbye, Hello, Refused, Register, Welcome
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.setup.named_parts import named_parts
from dtfl_private.experiments.setup.run_objects import NO_OBJECTS

PATIENCE_S = 300.0
VERSION = version("dtfl-private")


class House:
    """A greeter, its registry, and what was heard of it."""

    def __init__(self, clients: int = 2, images_before=None) -> None:
        self.registry, self.heard = Registry(clients, images_before), []
        config = TrainConfig(defense=["dp-activations"], device="cpu")
        opening = Opening(
            config=config,
            agreed="",
            dataset=SimpleNamespace(classes=["a", "b"], input_shape=(1, 8, 8)),
            apart=(),
            needs_sums=False,
            largest=10_000,
            defense=named_parts(config, NO_OBJECTS).defense,
        )
        greeting = Greeting(run="r", config_sha256="0" * 64, largest=10_000)
        self.looked: list[int] = []
        self.greeter = Greeter(
            self.registry, opening, greeting, lambda *told: self.heard.append(told), self.looked.append
        )

    def enter(self, client: int) -> "Guest":
        return Guest(self, client)


class Guest:
    """A session that is greeted."""

    def __init__(self, house: House, client: int) -> None:
        self.session = Session("client", 1000)
        self.thread = threading.Thread(target=house.greeter, args=(client, self.session, f"peer {client}"))
        self.thread.start()

    def says(self, message) -> "Guest":
        self.session.arrived(message if isinstance(message, bytes) else encode(message))
        return self

    def hears(self, kind):
        """Return the next frame, which is of this kind."""
        frame = decode(self.session.outgoing.get(PATIENCE_S), from_="server", largest=10_000)
        assert isinstance(frame, kind), frame
        return frame

    def registers(self, images: int) -> "Guest":
        number = self.says(Hello(version=VERSION)).hears(Welcome).session
        return self.says(Register(session=number, images=images))

    def done(self) -> "Guest":
        self.thread.join(PATIENCE_S)
        assert not self.thread.is_alive()
        return self


@pytest.fixture
def house() -> House:
    return House()


def test_a_client_is_admitted_with_its_images(house):
    guest = house.enter(1).registers(12).done()
    assert house.registry.session(1) is guest.session
    assert guest.session.largest == 10_000  # from the welcome on
    assert house.registry.registered(1) == Registered(images=12)
    assert house.heard == [(1, "peer 1", None)]


@pytest.mark.parametrize(
    ("client", "frames", "why"),
    [
        (0, [Hello(version="0.0.1")], "dtfl-private '0.0.1' at the client"),
        (0, [b"GET / HTTP/1.1\r\n\r\n"], "not a frame of dtfl-private"),
        (0, [Register(session=1, images=3)], "a session begins with hello"),
        (2, [], "client 2 is none of this run: its clients are 0..1"),
    ],
    ids=["another version", "no frame", "no hello", "no client of the run"],
)
def test_whoever_is_not_taken_is_told_why(house, client, frames, why):
    guest = house.enter(client)
    for frame in frames:
        guest.says(frame)
    assert why in guest.hears(Refused).reason
    guest.done()
    assert guest.session.is_lost
    assert house.registry.connected() == []
    ((_, _, told),) = house.heard
    assert why in told


def test_a_client_that_comes_again_with_other_images_is_refused(house):
    house.enter(0).registers(12).done().session.lose("gone")
    guest = house.enter(0).registers(11)
    assert "client 0 has 11 training images, and had 12" in guest.hears(Refused).reason
    guest.done()
    assert house.registry.registered(0) == Registered(images=12)


def test_a_client_that_had_other_images_with_an_earlier_server_of_the_run_is_refused():
    house = House(images_before=np.array([12, 0]))
    assert house.registry.images_K.tolist() == [12, 0]
    guest = house.enter(0).registers(11)
    assert "client 0 has 11 training images, and had 12" in guest.hears(Refused).reason
    guest.done()
    house.enter(0).registers(12).done()
    house.enter(1).registers(11).done()
    assert house.registry.images_K.tolist() == [12, 11]


def test_a_client_that_says_it_has_more_images_than_a_guarantee_is_one_for_does_not_end_the_run(house):
    guest = house.enter(0).registers(100_000)
    assert "delta=1e-05 is not below 1/100000" in guest.hears(Refused).reason
    guest.done()
    assert house.registry.registered(0) is None


def test_of_two_processes_with_one_certificate_the_newer_one_stays_and_the_older_one_is_told(house):
    older = house.enter(0).registers(12).done()
    newer = house.enter(0).registers(12)
    assert older.hears(Refused).reason == REPLACED
    newer.done()
    assert (older.session.is_lost, newer.session.is_lost) == (True, False)
    assert house.registry.session(0) is newer.session


def test_whoever_comes_after_the_end_of_the_run_is_told_so(house):
    house.greeter.end("all rounds are done")
    assert not house.greeter.all_told([1], 0.0)
    guest = house.enter(1).says(Hello(version=VERSION))
    assert guest.hears(Goodbye).reason == "all rounds are done"
    guest.done()
    assert guest.session.is_lost
    assert house.greeter.all_told([1], 0.0)
    assert not house.greeter.all_told([0, 1], 0.0)
    assert house.heard == []


def test_a_client_that_only_looks_has_done_nothing_wrong(house):
    guest = house.enter(0).says(Hello(version=VERSION))
    guest.hears(Welcome)
    guest.session.lose("the connection ended")
    guest.done()
    assert (house.looked, house.heard) == ([0], [])


def test_a_client_is_greeted_once_at_a_time(house):
    """Who holds a session open without a word has no more of them by opening others."""
    silent = house.enter(0)
    silent.says(Hello(version=VERSION)).hears(Welcome)
    newer = house.enter(0).registers(12)
    silent.done()
    newer.done()
    assert silent.session.is_lost
    assert house.registry.session(0) is newer.session


def test_as_many_images_as_may_be_claimed_can_be_written_down():
    assert ClientSession(client=0, connected=True, images=MOST_IMAGES).images == MOST_IMAGES
