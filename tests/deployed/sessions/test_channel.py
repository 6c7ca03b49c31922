"""A bounded queue of frames: who puts waits for who takes, and closing it lets nobody wait for ever."""

import threading

import pytest

from dtfl_private.deployed.sessions.channel import Channel, ChannelClosedError

PATIENCE_S = 60.0


def in_a_thread(what, *arguments):
    """Start something that may wait; return the thread, and the list in which its result or error will be."""
    found: list[object] = []

    def through() -> None:
        try:
            found.append(what(*arguments))
        except (ChannelClosedError, TimeoutError) as error:
            found.append(type(error))

    thread = threading.Thread(target=through)
    thread.start()
    return thread, found


def ended(thread: threading.Thread) -> bool:
    thread.join(PATIENCE_S)
    return not thread.is_alive()


def test_frames_come_out_in_the_order_in_which_they_went_in():
    channel = Channel(3)
    for frame in (b"a", b"b", b"c"):
        channel.put(frame)
    assert [channel.get() for _ in range(3)] == [b"a", b"b", b"c"]


def test_whoever_puts_into_a_full_channel_waits_until_somebody_takes():
    channel = Channel(1)
    channel.put(b"a")
    with pytest.raises(TimeoutError):
        channel.put(b"b", timeout_s=0.0)
    thread, _ = in_a_thread(channel.put, b"b")
    assert channel.get() == b"a"
    assert ended(thread)
    assert channel.get() == b"b"


def test_whoever_waits_to_put_is_released_when_the_channel_is_closed():
    channel = Channel(1)
    channel.put(b"a")
    thread, found = in_a_thread(channel.put, b"b")
    channel.close()
    assert ended(thread)
    assert found == [ChannelClosedError]
    assert channel.get() == b"a"  # what was in it still comes out
    with pytest.raises(ChannelClosedError):
        channel.get()


def test_whoever_waits_to_take_is_released_when_the_channel_is_closed():
    channel = Channel(1)
    thread, found = in_a_thread(channel.get)
    channel.close()
    assert ended(thread)
    assert found == [ChannelClosedError]


def test_a_channel_that_is_closed_at_once_is_empty():
    channel = Channel(2)
    channel.put(b"a")
    channel.close(at_once=True)
    with pytest.raises(ChannelClosedError):
        channel.get()
    with pytest.raises(ChannelClosedError):
        channel.put(b"b")


def test_nothing_to_take_in_time():
    with pytest.raises(TimeoutError):
        Channel(1).get(timeout_s=0.0)


def test_a_channel_is_drained_once_all_was_taken():
    channel = Channel(1)
    channel.put(b"a")
    assert not channel.drained(0.0)
    thread, found = in_a_thread(channel.drained, PATIENCE_S)
    channel.get()
    assert ended(thread)
    assert found == [True]
