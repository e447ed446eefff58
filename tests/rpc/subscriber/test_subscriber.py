"""Subscribers: many machines of a Mux over one connection, read only, level whatever happens."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from amzmq import Subscriber
from amzmq.errors import ConnectFailed, InvalidArgs, NoAccess, NotConnected, Refused
from amzmq.machine import Machine
from amzmq.net import MemoryNetwork, SocketOptions, ZmqTransport
from amzmq.rpc import Mux, ServerRequest
from amzmq.rpc.server.rights import Policy
from amzmq.rpc.server.server import Server
from amzmq.wire.control import (
    Hello,
    Listing,
    Message,
    Ping,
    Refusal,
    RefusalCode,
    Sync,
    from_frame,
)
from tests.rpc.rig import ADDR, QUICK, Losing, clock_of, machine, soon, until

DOOR, LAMP, BELL = "door", "lamp", "bell"


class House:
    """A Mux with machines, and subscribers of it."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self.network = MemoryNetwork()
        self._stack = stack
        self.sources: dict[str, Machine] = {}

    async def serve(self, *ids: str, **options: Any) -> Mux:
        self.sources = {id: machine(id) for id in ids}
        options.setdefault("bind", ADDR)
        options.setdefault("heartbeat", 0.05)
        mux = Mux(list(self.sources.values()), transport=self.network.transport(), **options)
        self._stack.push_async_callback(mux.stop)
        await mux.start()
        return mux

    def subscriber(self, *machines: str, user: str = "", **options: Any) -> Subscriber:
        sub = Subscriber(
            options.pop("addr", ADDR),
            machines or None,
            transport=self.network.transport(user),
            **(QUICK | options),
        )
        self._stack.push_async_callback(sub.stop)
        return sub

    async def follow(self, *machines: str, **options: Any) -> Subscriber:
        sub = self.subscriber(*machines, **options)
        sub.start()
        await soon(sub.ready())
        return sub

    async def level(self, sub: Subscriber) -> None:
        await until(lambda: all(self.is_level(sub, id) for id in sub))

    def is_level(self, sub: Subscriber, id: str) -> bool:
        return clock_of(sub[id]) == clock_of(self.sources[id])


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with AsyncExitStack() as stack:
        yield House(stack)


def heard(network: MemoryNetwork, *kinds: type[Message]) -> list[Message]:
    """Notes the messages of these kinds from now on."""
    notes: list[Message] = []

    def note(frame: bytes) -> tuple[float]:
        message = from_frame(frame)
        if isinstance(message, kinds):
            notes.append(message)
        return (0.0,)

    network.control_fault = note
    return notes


# Following.


async def test_the_named_machines_are_followed_and_no_others(house: House) -> None:
    await house.serve(DOOR, LAMP, BELL)
    sub = await house.follow(DOOR, BELL)
    assert list(sub) == [DOOR, BELL]
    assert LAMP not in sub
    house.sources[DOOR].add("A")
    house.sources[BELL].add("B", "Multi")
    await house.level(sub)
    assert sub[DOOR].is_("A")
    assert sub[BELL].active_states() == ["B", "Multi"]


async def test_all_machines_are_followed_when_none_is_named(house: House) -> None:
    await house.serve(DOOR, LAMP, BELL)
    sub = await house.follow()
    assert list(sub) == [DOOR, LAMP, BELL]
    for source in house.sources.values():
        source.add("A", "B")
    await house.level(sub)


async def test_however_many_machines_there_are_two_sockets_carry_them(house: House) -> None:
    await house.serve(*(f"m{at}" for at in range(20)))
    sub = await house.follow()
    assert len(sub) == 20
    assert sum(map(len, house.network.dealers.values())) == 1
    assert sum(map(len, house.network.subscribers.values())) == 1


async def test_one_frame_is_decoded_by_the_one_machine_that_it_is_of(house: House) -> None:
    await house.serve(DOOR, LAMP)
    sub = await house.follow()
    house.sources[DOOR].add("A")
    await house.level(sub)
    assert sub[DOOR].clock()["A"] == 1
    assert sub.metrics()["updates"] == 1


async def test_a_replica_can_be_waited_on(house: House) -> None:
    await house.serve(DOOR, LAMP)
    sub = await house.follow()
    wait = sub[LAMP].when("Auto")
    house.sources[LAMP].add("A", "B")
    await soon(wait)
    assert sub[LAMP].is_("Auto")


async def test_a_machine_that_is_not_followed_is_named_with_those_that_are(house: House) -> None:
    await house.serve(DOOR, LAMP)
    sub = await house.follow(DOOR)
    with pytest.raises(NotConnected, match=r"'lamp' at .*; followed are: door"):
        sub[LAMP]


async def test_a_named_machine_that_is_not_there_ends_the_start_with_a_reason(
    house: House,
) -> None:
    await house.serve(DOOR)
    sub = house.subscriber(DOOR, "absent")
    sub.start()
    with pytest.raises(Refused, match="no machine 'absent' here; there is: door"):
        await soon(sub.ready())


async def test_the_first_of_the_named_machines_may_be_absent_after_a_restart(house: House) -> None:
    mux = await house.serve(DOOR, LAMP)
    sub = await house.follow(DOOR, LAMP)
    await mux.stop()
    await house.serve(LAMP)
    await until(lambda: sub.mach.is_("Ready") and sub.ended == (DOOR,))
    house.sources[LAMP].add("A")
    await until(lambda: house.is_level(sub, LAMP))
    assert sub.metrics()["machines_refused"] >= 1


async def test_a_source_that_is_not_there_is_given_up_with_a_reason(house: House) -> None:
    sub = house.subscriber(conn_retries=2, conn_timeout=0.02)
    sub.start()
    with pytest.raises(ConnectFailed, match="gave up after"):
        await soon(sub.ready())


async def test_what_is_given_wrongly_is_named(house: House) -> None:
    with pytest.raises(InvalidArgs, match="machines is empty"):
        Subscriber(ADDR, [])
    with pytest.raises(InvalidArgs, match="machines='door': give a list"):
        Subscriber(ADDR, "door")
    with pytest.raises(InvalidArgs, match="interval=1 is for conflate"):
        Subscriber(ADDR, interval=1.0)


async def test_a_view_is_that_of_every_machine(house: House) -> None:
    mux = await house.serve(DOOR, LAMP)
    sub = await house.follow(allowed_states=["A", "Multi"])
    for source in house.sources.values():
        source.add("A", "B", "Multi")
    await until(lambda: all(sub[id].is_("A", "Multi") for id in sub))
    assert all(sub[id].tick("B") == 0 for id in sub)
    assert all(sub[id].tracked_states == ("A", "Multi") for id in sub)
    assert mux.published["streams"] == 4


async def test_subscribers_of_one_view_share_its_stream(house: House) -> None:
    mux = await house.serve(DOOR, LAMP)
    for _ in range(3):
        await house.follow()
    assert mux.published["streams"] == 2
    assert [info.clients for info in mux.machines()] == [3, 3]


async def test_the_source_sees_how_far_a_subscriber_is_on_all_machines(house: House) -> None:
    mux = await house.serve(DOOR, LAMP)
    sub = await house.follow(name="tap")
    pings = heard(house.network, Ping)
    for source in house.sources.values():
        source.add("A")
    await house.level(sub)
    await until(lambda: mux.published["head"] == 2 and mux.clients == {"rc-tap": 0})
    assert any(isinstance(ping, Ping) and ping.others for ping in pings)


async def test_a_machine_that_a_subscriber_leaves_costs_the_source_no_stream(house: House) -> None:
    mux = await house.serve(DOOR, LAMP)
    sub = await house.follow(allowed_states=["A"])
    assert mux.published["streams"] == 4
    await sub.stop()
    await mux.stop()
    assert mux.counters.hellos == 1


# Read only.


@pytest.mark.parametrize(
    "mutate",
    [
        lambda net: net.add("A"),
        lambda net: net.remove("A"),
        lambda net: net.set("A"),
        lambda net: net.toggle("A"),
        lambda net: net.add_ns("A"),
        lambda net: net.add_err(ValueError("x")),
        lambda net: net.when_args("A", user=1),
        lambda net: net.when_queue_ends(),
    ],
)
async def test_what_only_a_client_may_do_is_refused_at_once(
    house: House, mutate: Callable[[Any], object]
) -> None:
    await house.serve(DOOR)
    sub = await house.follow(DOOR)
    with pytest.raises(NoAccess, match="of 'door': a Subscriber only reads; use a Client"):
        mutate(sub[DOOR])


# Changes.


async def test_each_change_is_told_with_its_machine_and_what_it_was(house: House) -> None:
    mux = await house.serve(DOOR, LAMP)
    sub = await house.follow()
    told: list[tuple[str, list[str], list[str]]] = []
    sub.on_change(lambda net, on, off: told.append((net.remote_id, list(on), list(off))))
    house.sources[DOOR].add("A")
    mux.flush()
    house.sources[DOOR].remove("A")
    house.sources[LAMP].add("Multi")
    mux.flush()
    house.sources[LAMP].add("Multi")
    await until(lambda: len(told) == 4)
    assert told == [
        (DOOR, ["A"], []),
        (DOOR, [], ["A"]),
        (LAMP, ["Multi"], []),
        (LAMP, [], []),
    ]


async def test_changes_can_be_iterated_over(house: House) -> None:
    mux = await house.serve(DOOR, LAMP)
    sub = await house.follow()
    changes = sub.changes()
    house.sources[LAMP].add("A")
    mux.flush()
    house.sources[LAMP].remove("A")
    first, second = await soon(anext(changes)), await soon(anext(changes))
    assert (first.machine, first.activated, first.deactivated) == (sub[LAMP], ("A",), ())
    assert (second.machine, second.activated, second.deactivated) == (sub[LAMP], (), ("A",))
    await sub.stop()
    with pytest.raises(StopAsyncIteration):
        await soon(anext(changes))


async def test_a_slow_reader_loses_the_oldest_changes_and_that_is_counted(house: House) -> None:
    mux = await house.serve(DOOR)
    sub = await house.follow()
    changes = sub.changes(limit=3)
    for _ in range(5):
        house.sources[DOOR].toggle("A")
        mux.flush()
    await house.level(sub)
    assert changes.dropped == 2
    assert sub.metrics()["changes_dropped"] == 2
    assert [(await soon(anext(changes))).activated for _ in range(3)] == [("A",), (), ("A",)]


async def test_a_callback_that_fails_is_counted_and_the_others_are_told(house: House) -> None:
    await house.serve(DOOR)
    sub = await house.follow()
    told: list[object] = []
    sub.on_change(lambda *change: 1 // 0)  # type: ignore[arg-type]
    sub.on_change(lambda *change: told.append(change))
    house.sources[DOOR].add("A")
    await until(lambda: told)
    assert sub.metrics()["callbacks_failed"] == 1


async def test_what_was_missed_while_away_is_told_as_a_change(house: House) -> None:
    await house.serve(DOOR)
    sub = await house.follow()
    told: list[list[str]] = []
    sub.on_change(lambda net, on, off: told.append([*on]))
    house.network.partition(True)
    house.sources[DOOR].add("A")
    house.network.partition(False)
    await house.level(sub)
    assert told == [["A"]]


# Payloads.


async def test_payloads_of_all_machines_arrive_in_order_with_their_states(house: House) -> None:
    mux = await house.serve(DOOR, LAMP)
    sub = await house.follow()
    seen: list[tuple[str, object, int]] = []
    sub.on_payload(lambda it: seen.append((it.source, it.data, sub[it.source].tick("Multi"))))
    for at in range(3):
        for id, source in house.sources.items():
            source.add("Multi")
            mux.send_payload("price", at, machine=id)
    await until(lambda: len(seen) == 6)
    ticks = [2 * at + 1 for at in range(3)]
    for id in (DOOR, LAMP):
        assert [(data, tick) for source, data, tick in seen if source == id] == list(
            enumerate(ticks)
        )


async def test_payloads_can_be_iterated_over_by_name(house: House) -> None:
    mux = await house.serve(DOOR, LAMP)
    sub = await house.follow()
    prices = sub.payloads("price")
    mux.send_payload("noise", 0, machine=LAMP)
    mux.send_payload("price", 1, machine=LAMP)
    mux.send_payload("price", 2, machine=DOOR)
    arrived = [await soon(anext(prices)) for _ in range(2)]
    assert sorted((payload.source, payload.data) for payload in arrived) == [(DOOR, 2), (LAMP, 1)]


async def test_a_payload_for_one_subscriber_is_taken_once_and_confirmed(house: House) -> None:
    mux = await house.serve(DOOR, LAMP)
    sub = await house.follow(name="tap")
    notes = sub.payloads()
    house.sources[DOOR].add("A")
    receipt = mux.send_payload("note", "for you", "tap")
    payload = await soon(anext(notes))
    assert payload.data == "for you"
    await soon(receipt)


# Machines that come and go.


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


async def test_a_tap_is_told_once_of_all_that_one_turn_brought(house: House) -> None:
    mux = await house.serve(DOOR)
    sub = await house.follow(conflate=True)
    told: list[tuple[list[str], list[str]]] = []
    sub.on_change(lambda net, on, off: told.append(([*on], [*off])))
    for _ in range(50):
        house.sources[DOOR].toggle("A")
        house.sources[DOOR].add("Multi")
        mux.flush()
    house.sources[DOOR].add("B")
    await house.level(sub)
    await until(lambda: told and sub.metrics()["updates"] == 51)
    assert told == [(["B", "Multi"], [])]


async def test_a_tap_is_told_at_most_once_an_interval(house: House) -> None:
    mux = await house.serve(DOOR)
    sub = await house.follow(conflate=True, interval=3600.0)
    changes = sub.changes()
    house.sources[DOOR].add("A")
    first = await soon(anext(changes))
    assert first.activated == ("A",)
    for _ in range(9):
        house.sources[DOOR].toggle("B")
        mux.flush()
    await house.level(sub)
    assert sub.metrics()["updates"] == 10
    assert len(changes) == 0


async def test_an_iteration_that_conflates_keeps_one_change_a_machine_and_drops_none(
    house: House,
) -> None:
    await house.serve(DOOR, LAMP)
    sub = await house.follow(conflate=True)
    changes = sub.changes(limit=1)
    for _ in range(5):
        for source in house.sources.values():
            source.toggle("A")
        await house.level(sub)
    await until(lambda: len(changes) == 2)
    merged = [await soon(anext(changes)) for _ in range(2)]
    assert [(it.machine, it.activated) for it in merged] == [
        (sub[DOOR], ("A",)),
        (sub[LAMP], ("A",)),
    ]
    assert sub.metrics()["changes_dropped"] == 0


# Who may follow what.


async def test_a_factory_decides_about_each_machine(house: House) -> None:
    asked: list[str] = []

    def new_server(request: ServerRequest) -> Server:
        asked.append(request.machine_id)
        if request.machine_id == LAMP:
            raise NoAccess("the lamp is private")
        return request.serve()

    await house.serve(DOOR, LAMP, BELL, new_server=new_server)
    sub = house.subscriber(DOOR, BELL, LAMP)
    sub.start()
    with pytest.raises(NoAccess, match="the lamp is private"):
        await soon(sub.ready())
    assert asked == [DOOR, BELL, LAMP]
    assert list(await house.follow(DOOR, BELL)) == [DOOR, BELL]


async def test_only_machines_that_the_user_may_see_are_found_and_followed(house: House) -> None:
    rights = Policy({"tap": {"machines": [LAMP, BELL], "read": ["A"]}})
    await house.serve(DOOR, LAMP, BELL, rights=rights)
    sub = await house.follow(user="tap")
    assert list(sub) == [LAMP, BELL]
    for source in house.sources.values():
        source.add("A", "B")
    await until(lambda: all(sub[id].is_("A") for id in sub))
    assert all(sub[id].tracked_states == ("A",) for id in sub)


async def test_a_machine_that_the_user_may_not_see_is_refused_by_name(house: House) -> None:
    rights = Policy({"tap": {"machines": [DOOR]}})
    await house.serve(DOOR, LAMP, rights=rights)
    sub = house.subscriber(DOOR, LAMP, user="tap")
    sub.start()
    with pytest.raises(NoAccess):
        await soon(sub.ready())


async def test_a_user_that_loses_a_right_is_told_no_more(house: House, tmp_path: Path) -> None:
    file = tmp_path / "rights.toml"
    file.write_text(f'[tap]\nmachines = ["{DOOR}", "{LAMP}"]\n')
    await house.serve(DOOR, LAMP, rights=Policy.load(file))
    sub = await house.follow(user="tap")
    assert list(sub) == [DOOR, LAMP]
    file.write_text(f'[tap]\nmachines = ["{DOOR}"]\n# a longer file\n')
    await until(lambda: sub.mach.is_("Ready") and sub.ended == (LAMP,))
    for source in house.sources.values():
        source.add("A")
    await until(lambda: house.is_level(sub, DOOR))
    assert sub[LAMP].not_("A")


async def test_a_question_about_a_stream_that_is_not_followed_is_refused(house: House) -> None:
    mux = await house.serve(DOOR, LAMP)
    sub = await house.follow(DOOR)
    lamp = next(iter(mux._sources.feed_of(LAMP).streams))  # type: ignore[union-attr]
    refusals = heard(house.network, Refusal)
    sub.conversation._connection.send(Sync(99, b"", 0, b"", lamp.stream_id))
    await until(lambda: refusals)
    assert refusals == [
        Refusal(99, RefusalCode.MACHINE_UNKNOWN, "that stream is not followed here, or has ended")
    ]


# Real sockets.


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
