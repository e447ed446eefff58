"""Subscribers over real sockets."""

from __future__ import annotations

from amzmq import Subscriber
from amzmq.net import SocketOptions, ZmqTransport
from amzmq.rpc import Mux
from tests.rpc.rig import ADDR, clock_of, machine, soon, until
from tests.rpc.subscriber.rig import DOOR, LAMP, House


async def test_over_tcp_a_subscriber_follows_many_machines_by_two_sockets() -> None:
    sources = [machine(f"m{at}") for at in range(5)]
    async with Mux(sources, "tcp://127.0.0.1:0") as mux, Subscriber(mux.addr) as sub:
        assert len(sub) == 5
        for source in sources:
            source.add("A", "B")
        mux.send_payload("price", 1, machine="m3")
        await until(lambda: all(clock_of(sub[it.id]) == clock_of(it) for it in sources))
        assert sub.metrics()["gaps"] == 0


async def test_the_example_of_the_manual_works_as_written(house: House) -> None:
    await house.serve(DOOR, LAMP)
    lines: list[str] = []
    async with Subscriber(ADDR, machines=[DOOR, LAMP], transport=house.network.transport()) as sub:
        sub.on_change(lambda machine, on, off: lines.append(f"{machine.remote_id} {on} {off}"))
        house.sources[DOOR].add("A")
        await soon(sub[DOOR].when("A"))
    assert lines == ["door ('A',) ()"]


async def test_what_is_lost_at_a_high_water_mark_is_counted_and_healed() -> None:
    small = SocketOptions(
        send_hwm=10, receive_hwm=10, send_buffer_bytes=4096, receive_buffer_bytes=4096
    )
    source, other = machine(DOOR), machine(LAMP)
    async with (
        Mux([source, other], transport=ZmqTransport(small)) as mux,
        Subscriber(mux.addr, transport=ZmqTransport(small)) as sub,
    ):
        for _ in range(20_000):  # in one turn: nobody reads meanwhile
            source.add("Multi")
            mux.flush()
        other.add("A")
        await until(lambda: clock_of(sub[DOOR]) == clock_of(source))
        await until(lambda: clock_of(sub[LAMP]) == clock_of(other))
        counts = sub.metrics()
        assert counts["gaps"] >= 1
        assert counts["resyncs"] >= 1
        assert mux.metrics()["catch_ups_sent"] + mux.metrics()["snapshots_sent"] > 2


async def test_a_machine_whose_end_was_not_heard_is_followed_again(house: House) -> None:
    mux = await house.serve(DOOR, LAMP)
    sub = await house.follow()
    for server in mux.servers:  # the source has forgotten it, and the word of that was lost
        server.followed.clear()
    house.network.feed_fault = lambda frame: ()
    house.sources[LAMP].add("A")
    mux.flush()
    house.network.feed_fault = None
    await house.level(sub)
    assert sub.ended == ()
    assert len(mux.servers[0].followed) == 1
