"""Wake-ups: who gets them, and that a slow listener loses the oldest and nobody waits."""

from __future__ import annotations

from slotmeter.services.bus import (
    WAKES_WAITING_MAX,
    Bus,
    CommandsChanged,
    EventsRecorded,
    FrameLogged,
)


async def test_a_listener_gets_what_was_published_since_it_began() -> None:
    bus = Bus()
    bus.publish(FrameLogged(1))
    with bus.subscribe(FrameLogged) as listener:
        bus.publish(FrameLogged(2))
        bus.publish(FrameLogged(3))

        assert await listener.next(1) == (FrameLogged(2), FrameLogged(3))


async def test_a_listener_gets_the_kinds_it_asked_for() -> None:
    bus = Bus()
    with bus.subscribe(CommandsChanged, EventsRecorded) as listener:
        bus.publish(FrameLogged(1))
        bus.publish(CommandsChanged(2))
        bus.publish(EventsRecorded())

        assert await listener.next(1) == (CommandsChanged(2), EventsRecorded())


async def test_nothing_comes_when_nothing_was_published() -> None:
    with Bus().subscribe(FrameLogged) as listener:
        assert await listener.next(0) == ()


async def test_a_slow_listener_loses_the_oldest_and_it_is_counted() -> None:
    lost: list[None] = []
    bus = Bus(on_drop=lambda: lost.append(None))
    with bus.subscribe(FrameLogged) as listener:
        for number in range(WAKES_WAITING_MAX + 2):
            bus.publish(FrameLogged(number))

        wakes = await listener.next(1)

    assert len(lost) == 2
    assert wakes[0] == FrameLogged(2)
    assert len(wakes) == WAKES_WAITING_MAX


async def test_a_closed_listener_hears_nothing_more() -> None:
    bus = Bus()
    listener = bus.subscribe(FrameLogged)
    listener.close()
    listener.close()

    bus.publish(FrameLogged(1))

    assert await listener.next(0) == ()
