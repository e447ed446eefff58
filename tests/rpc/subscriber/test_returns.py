"""Machines that come and go, losses and returns: subscribers are level whatever happens."""

from __future__ import annotations

from amzmq import Subscriber
from amzmq.wire.control import (
    Hello,
    Listing,
)
from tests.rpc.rig import ADDR, Losing, machine, soon, until
from tests.rpc.subscriber.rig import BELL, DOOR, LAMP, House, heard


async def test_a_machine_that_is_served_later_is_followed_by_itself(house: House) -> None:
    mux = await house.serve(DOOR)
    sub = await house.follow()
    house.sources[LAMP] = machine(LAMP)
    house.sources[LAMP].add("A")
    mux.serve(house.sources[LAMP])
    await until(lambda: LAMP in sub and house.is_level(sub, LAMP))
    house.sources[LAMP].add("B")
    await house.level(sub)


async def test_refresh_returns_what_is_followed_from_now_on(house: House) -> None:
    mux = await house.serve(DOOR)
    sub = await house.follow()
    assert await soon(sub.refresh()) == []
    house.network.control_fault = Losing(Listing)
    house.sources[LAMP] = machine(LAMP)
    mux.serve(house.sources[LAMP])
    await until(lambda: house.network.counts.dropped)
    house.network.control_fault = None
    assert await soon(sub.refresh()) == [LAMP]
    await house.level(sub)


async def test_a_machine_that_is_served_no_longer_stays_as_it_was_last(house: House) -> None:
    mux = await house.serve(DOOR, LAMP)
    sub = await house.follow()
    house.sources[LAMP].add("A")
    await house.level(sub)
    mux.unserve(LAMP)
    await until(lambda: sub.ended == (LAMP,))
    assert sub[LAMP].is_("A")
    house.sources[DOOR].add("B")
    await until(lambda: house.is_level(sub, DOOR))
    assert sub.mach.is_("Ready")


async def test_a_machine_that_is_served_again_is_followed_in_the_same_replica(
    house: House,
) -> None:
    mux = await house.serve(DOOR, LAMP)
    sub = await house.follow()
    net = sub[LAMP]
    mux.unserve(LAMP)
    await until(lambda: sub.ended == (LAMP,))
    house.sources[LAMP].add("A")
    mux.serve(house.sources[LAMP])
    await until(lambda: sub.ended == ())
    await house.level(sub)
    assert sub[LAMP] is net


async def test_the_machine_of_the_hello_may_go_as_well(house: House) -> None:
    mux = await house.serve(DOOR, LAMP)
    sub = await house.follow()
    mux.unserve(DOOR)
    await until(lambda: sub.mach.is_("Ready") and sub.ended == (DOOR,))
    house.sources[LAMP].add("A")
    await until(lambda: house.is_level(sub, LAMP))


# Losses and returns.


async def test_each_machine_heals_by_itself_what_it_missed(house: House) -> None:
    mux = await house.serve(DOOR, LAMP)
    sub = await house.follow()
    lamp = sub[LAMP]
    house.network.feed_fault = lambda frame: () if _is_of(sub, frame, LAMP) else (0.0,)
    for source in house.sources.values():
        source.add("A")
        mux.flush()
        source.add("B")
    await until(lambda: house.is_level(sub, DOOR))
    assert not lamp.is_("A")
    house.network.feed_fault = None
    await house.level(sub)
    counts = sub.metrics()
    assert counts["gaps"] == 1
    assert counts["snapshots"] == 2  # those that it began with: the journal had the rest


def _is_of(sub: Subscriber, frame: bytes, id: str) -> bool:
    return frame.startswith(sub.machine(id).follower.stream_id)


async def test_after_a_loss_of_the_connection_each_machine_is_resumed(house: House) -> None:
    await house.serve(DOOR, LAMP, BELL)
    sub = await house.follow()
    snapshots = sub.metrics()["snapshots"]
    for at in range(3):
        house.network.partition(True)
        for source in house.sources.values():
            source.add("Multi")
        house.network.partition(False)
        await until(lambda at=at: sub.metrics()["connects"] == at + 2)  # type: ignore[misc]
        await house.level(sub)
    assert sub.metrics()["snapshots"] == snapshots


async def test_a_stream_of_a_view_lives_while_its_only_subscriber_is_away(house: House) -> None:
    await house.serve(DOOR, LAMP)
    sub = await house.follow(allowed_states=["A"])
    snapshots = sub.metrics()["snapshots"]
    house.network.partition(True)
    house.sources[LAMP].add("A")
    house.network.partition(False)
    await until(lambda: sub[LAMP].is_("A"))
    assert sub.metrics()["snapshots"] == snapshots


async def test_a_source_that_was_restarted_is_followed_in_the_same_replicas(house: House) -> None:
    mux = await house.serve(DOOR, LAMP)
    sub = await house.follow()
    nets = {id: sub[id] for id in sub}
    for source in house.sources.values():
        source.add("A", "B")
    await house.level(sub)
    await mux.stop()
    await house.serve(DOOR, LAMP)
    house.sources[LAMP].add("Multi")
    await until(lambda: sub.mach.is_("Ready"))
    await house.level(sub)
    assert {id: sub[id] for id in sub} == nets
    assert sub[DOOR].not_("A")


async def test_another_address_is_tried_when_the_first_is_gone(house: House) -> None:
    mux = await house.serve(DOOR, LAMP)
    sub = await house.follow(addr=[ADDR, "mem://other"])
    await mux.stop()
    await house.serve(DOOR, LAMP, bind="mem://other")
    await until(lambda: sub.mach.is_("Ready"))
    assert sub.addr == "mem://other"
    house.sources[DOOR].add("A")
    await house.level(sub)


async def test_a_source_that_forgets_the_subscriber_gets_another_hello(house: House) -> None:
    mux = await house.serve(DOOR, LAMP)
    sub = await house.follow()
    hellos = heard(house.network, Hello)
    for peer, _ in mux._sessions.peers():
        mux._drop(peer)
    await until(lambda: hellos and sub.mach.is_("Ready"))
    house.sources[LAMP].add("A")
    await house.level(sub)


async def test_sync_waits_until_all_machines_are_level(house: House) -> None:
    await house.serve(DOOR, LAMP)
    sub = await house.follow()
    house.network.feed_fault = lambda frame: ()
    for source in house.sources.values():
        source.add("A")
    await soon(sub.sync())
    assert all(house.is_level(sub, id) for id in sub)
    house.network.feed_fault = None


# Conflation.
