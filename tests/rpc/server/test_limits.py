"""What clients may use of a source: beyond it they are told, and nobody else notices."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from amzmq.errors import AmzmqError, InvalidArgs, LimitExceeded
from amzmq.machine import MutationType, Result
from amzmq.net import SocketOptions, ZmqTransport
from amzmq.rpc import Client, Limits, Mux, Policy
from amzmq.rpc.server.limits import Guard, is_deeper
from amzmq.wire.control import (
    Bye,
    Follow,
    Followed,
    Hello,
    List,
    Message,
    Mutate,
    NsReport,
    Ping,
    Refusal,
    RefusalCode,
    Reply,
    Sync,
    Unfollow,
    Watch,
    WatchKind,
    Welcome,
)
from amzmq.wire.control_frames import from_frame, to_frame
from amzmq.wire.journal import JournalLimits
from amzmq.wire.view import View
from tests.rpc.rig import ADDR, QUICK, Payloads, World, level, machine, soon, turns, until

SLOW = 1e-6
"""Requests a second: the first ones are the burst, no other is done while a test runs."""

CALM = 3600.0
"""Seconds between heartbeats, so that no ping is among what is counted."""


class Guest:
    """A dealer that says what a test wants, and all that it was told."""

    def __init__(self, world: World, name: str = "guest", user: str = "") -> None:
        self.name = name
        self.heard: list[Message] = []
        self.dealer = world.network.transport(user).dealer(
            ADDR, lambda frame, blobs: self.heard.append(from_frame(frame)), lambda on: None
        )

    async def say(self, *messages: Message | bytes) -> None:
        await until(lambda: self.dealer.connected)
        for message in messages:
            self.dealer.send(message if isinstance(message, bytes) else to_frame(message))
        await turns()

    async def enter(self) -> Welcome | Refusal:
        await self.say(Hello(1, f"rc-{self.name}", b"12345678", b""))
        await until(lambda: self.heard)
        answer = self.heard.pop()
        assert isinstance(answer, Welcome | Refusal)
        return answer

    async def leave(self) -> None:
        await self.say(Bye("enough"))
        self.dealer.close()

    @property
    def refused(self) -> list[Refusal]:
        return [message for message in self.heard if isinstance(message, Refusal)]


@asynccontextmanager
async def others_unaffected(world: World, mux: Mux) -> AsyncIterator[Client]:
    """Another client that is there all the time sees everything and may do everything."""
    other = await world.follow("other")
    taken = Payloads(other)
    connects = other.metrics()["connects"]
    yield other
    assert await soon(other.net_mach.add("A", user={"deep": [1]})) == Result.EXECUTED
    wait = other.net_mach.when_args("Multi", user=1)
    mux.send_payload("n", 1)
    await until(lambda: taken.all)
    await until(lambda: any(len(server.watches) for server in mux.servers))
    mux.source.add("Multi", user=1)
    await soon(wait)
    await level(mux.source, other)
    metrics = other.metrics()
    assert (metrics["connects"], metrics["gaps"], metrics["garbage"]) == (connects, 0, 0)


async def test_each_limit_has_a_counter_from_the_start(world: World) -> None:
    counters = (await world.serve()).metrics()
    told = {name.removeprefix("over_") for name in counters if name.startswith("over_")}
    all_of_them = {each.name for each in dataclasses.fields(Limits)}
    assert all_of_them - told == {"handshake"}  # counted by the transport
    assert {counters[f"over_{name}"] for name in told} == {0}


@pytest.mark.parametrize("name", [each.name for each in dataclasses.fields(Limits)][:11])
@pytest.mark.parametrize("value", [-1, float("nan"), "many", None, True])
def test_a_limit_that_is_no_number_is_refused(name: str, value: object) -> None:
    with pytest.raises(InvalidArgs, match=f"Limits: {name}="):
        Limits(**{name: value})  # type: ignore[arg-type]


# Size.


async def test_a_request_too_large_is_told_to_its_sender(world: World) -> None:
    mux = await world.serve(limits=Limits(request_bytes=1000))
    async with others_unaffected(world, mux):
        guest = Guest(world)
        assert isinstance(await guest.enter(), Welcome)
        await guest.say(Mutate(7, MutationType.ADD, [0], {"blob": b"x" * 1000}, 0))
        assert [answer.code for answer in guest.refused] == [RefusalCode.LIMIT]
        assert "request_bytes=1000 at this source: send less" in guest.refused[0].reason
        assert mux.metrics()["over_request_bytes"] == mux.counters.oversized == 1
        assert mux.source.not_("A")
    await guest.leave()


async def test_who_is_no_client_yet_may_say_less(world: World) -> None:
    mux = await world.serve(limits=Limits(stranger_bytes=1000))
    async with others_unaffected(world, mux):
        guest = Guest(world)
        large = Mutate(7, MutationType.ADD, [0], {"blob": b"x" * 1000}, 0)
        await guest.say(large)
        assert "stranger_bytes=1000" in guest.refused[0].reason
        assert mux.metrics()["over_stranger_bytes"] == 1
        guest.heard.clear()
        assert isinstance(await guest.enter(), Welcome)
        await guest.say(large)
        await until(lambda: guest.heard)
        assert isinstance(guest.heard[0], Reply)
    await guest.leave()


@pytest.mark.parametrize("destination", [None, "other"])
async def test_a_payload_too_large_is_its_sender_s_error(
    world: World, destination: str | None
) -> None:
    mux = await world.serve(limits=Limits(payload_bytes=1000))
    async with others_unaffected(world, mux):
        with pytest.raises(LimitExceeded, match=r"'big' of 1003 bytes; payload_bytes=1000"):
            mux.send_payload("big", b"x" * 1000, destination)
        assert mux.metrics()["over_payload_bytes"] == 1


async def test_names_are_bounded(world: World) -> None:
    mux = await world.serve(limits=Limits(name_bytes=20))
    async with others_unaffected(world, mux):
        guest = Guest(world, "long" * 10)
        answer = await guest.enter()
        assert isinstance(answer, Refusal)
        assert (answer.code, "name_bytes=20" in answer.reason) == (RefusalCode.LIMIT, True)
        await guest.say(Hello(1, "rc-guest", b"1" * 21, b""))
        await guest.say(Hello(1, "rc-guest", b"12345678", b"", "m" * 21))
        assert len(guest.refused) == 2
        guest.heard.clear()
        guest.name = "guest"
        assert isinstance(await guest.enter(), Welcome)
        await guest.say(Mutate(1, MutationType.ADD, [0], {"ä" * 11: 1}, 0))
        await guest.say(Follow(2, "m" * 21))
        with pytest.raises(LimitExceeded, match="a payload's name of 21 bytes"):
            mux.send_payload("n" * 21, 1)
        assert [answer.request for answer in guest.refused] == [1, 2]
        assert mux.metrics()["over_name_bytes"] == 6
        await guest.say(Mutate(3, MutationType.ADD, [0], {"ä" * 10: 1}, 0))
        await until(lambda: len(guest.heard) == 3)
        assert isinstance(guest.heard[2], Reply)
    await guest.leave()


@pytest.mark.parametrize(
    ("limit", "args", "said"),
    [
        ("args", {"a": 1, "b": 2, "c": 3}, "3 arguments; args=2"),
        ("args_depth", {"a": [[{"b": [1]}]]}, "'a' is nested deeper than 2 levels"),
        ("args_depth", {"a": {"b": {"c": {}}}}, "'a' is nested deeper than 2 levels"),
    ],
)
async def test_arguments_are_bounded(
    world: World, limit: str, args: dict[str, object], said: str
) -> None:
    mux = await world.serve(limits=Limits(args=2, args_depth=2))
    async with others_unaffected(world, mux):
        client = await world.follow("one")
        with pytest.raises(LimitExceeded, match=said):
            await soon(client.net_mach.add("A", args=args))
        assert mux.source.not_("A")
        client.net_mach.when_args("A", **args)
        await until(lambda: client.metrics()["waits_refused"] == 1)
        assert mux.metrics()[f"over_{limit}"] == 2
        assert await soon(client.net_mach.add("A", a=[[1]], b={"c": {}})) == Result.EXECUTED


def test_levels_are_counted_whatever_they_are_made_of() -> None:
    assert not is_deeper(1, 0)
    assert is_deeper([], 0)
    assert not is_deeper([1], 1)
    assert is_deeper([[], {"a": 1}], 1)
    assert is_deeper([1, {"a": [2, {"b": 1}]}], 3)
    assert not is_deeper([1, {"a": [2, {"b": 1}]}], 4)


# Number.


async def test_clients_beyond_the_limit_are_refused_for_good(world: World) -> None:
    mux = await world.serve(limits=Limits(clients=2), heartbeat=CALM)
    async with others_unaffected(world, mux):
        one = await world.follow("one")
        two = world.client("two")
        two.start()
        with pytest.raises(LimitExceeded, match="2 clients are here; clients=2 at this source"):
            await soon(two.ready())
        assert mux.metrics()["over_clients"] == mux.counters.refused == 1
        assert set(mux.clients) == {"rc-other", "rc-one"}
        await one.stop()
        three = await world.follow("three")
        # Who says Hello again is no one more.
        three.mach.add("Handshaking")
        await until(lambda: mux.counters.hellos == 5 and three.mach.is_("Ready"))
        assert mux.metrics()["over_clients"] == 1


async def test_an_admin_gets_in_when_there_are_too_many(world: World) -> None:
    policy = Policy({"boss": {"admin": True}, "user": {}})
    mux = await world.serve(limits=Limits(clients=1, admins=1), rights=policy)
    guests = [Guest(world, f"g{at}", user) for at, user in enumerate(["user", "user", "boss"])]
    answers = [type(await guest.enter()) for guest in guests]
    assert answers == [Welcome, Refusal, Welcome]
    late = Guest(world, "late", "boss")
    assert isinstance(await late.enter(), Refusal)
    assert set(mux.clients) == {"rc-g0", "rc-g2"}
    assert (mux.metrics()["over_clients"], mux.metrics()["over_admins"]) == (1, 1)
    for guest in (*guests, late):
        await guest.leave()


async def test_newcomers_beyond_those_that_may_wait_say_hello_again(world: World) -> None:
    mux = await world.serve(limits=Limits(hellos_waiting=2), heartbeat=CALM)
    async with others_unaffected(world, mux):
        guests = [Guest(world, f"g{at}") for at in range(20)]
        await until(lambda: all(guest.dealer.connected for guest in guests))
        for guest in guests:
            guest.dealer.send(to_frame(Hello(1, f"rc-{guest.name}", b"12345678", b"")))
        await until(lambda: mux.metrics()["over_hellos_waiting"])
        await turns()
        dropped = mux.metrics()["over_hellos_waiting"]
        assert dropped == mux.counters.hellos_dropped == 20 - len(mux.servers) + 1
        for guest in guests:
            if not guest.heard:
                assert isinstance(await guest.enter(), Welcome)
        assert len(mux.servers) == 21
    for guest in guests:
        await guest.leave()


async def test_waits_and_further_machines_are_bounded(world: World) -> None:
    mux = await world.serve(limits=Limits(watches=1, followed=1))
    mux.serve(machine("second"))
    mux.serve(machine("third"))
    async with others_unaffected(world, mux):
        guest = Guest(world)
        assert isinstance(await guest.enter(), Welcome)
        await guest.say(Sync(1, b"", 0))
        guest.heard.clear()
        for request in (1, 2):
            await guest.say(Watch(request, WatchKind.ARGS, [0], {"user": 1}, 0))
        await guest.say(Follow(3, "second"), Follow(4, "third"))
        assert [(it.request, it.code) for it in guest.refused] == [
            (2, RefusalCode.LIMIT),
            (4, RefusalCode.LIMIT),
        ]
        assert mux.metrics()["over_watches"] == mux.metrics()["over_followed"] == 1
    await guest.leave()


async def viewing(world: World, user: str, name: str, states: list[str] | None) -> Client:
    """A client of a user that follows these states, or everything."""
    client = Client(
        ADDR, f"{user}-{name}", allowed_states=states, transport=world.network.transport(user),
        **QUICK,
    )  # fmt: skip
    world._stack.push_async_callback(client.stop)
    client.start()
    await soon(client.ready())
    return client


async def test_a_user_with_many_views_of_a_machine_leaves_some_for_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("amzmq.rpc.server.feed.STREAM_LIMIT", 4)
    mux = await world.serve(limits=Limits(views=2), heartbeat=CALM)
    async with others_unaffected(world, mux):
        for number, states in enumerate((["A"], ["A"], ["B"], None)):
            await viewing(world, "eve", str(number), states)
        for states in (["Multi"], ["A", "B"]):
            text = "eve follows 2 different views of src; views=2 at this source: leave one"
            with pytest.raises(LimitExceeded, match=text):
                await viewing(world, "eve", "more", states)
        ann = await viewing(world, "ann", "1", ["Multi"])
        mux.source.add("Multi")
        await until(lambda: ann.net_mach.is_("Multi"))
        assert mux.metrics()["over_views"] == 2
        # All together: everything, two of eve, one of ann.
        with pytest.raises(LimitExceeded, match="4 different views of src are followed already"):
            await viewing(world, "ann", "2", ["Never"])
        assert mux.metrics()["over_views"] == 3
        await viewing(world, "ann", "3", ["A"])  # somebody else's


async def test_views_of_clients_that_left_make_room_for_those_who_are_here(world: World) -> None:
    mux = await world.serve(limits=Limits(views=2), heartbeat=CALM)
    for number, state in enumerate(("A", "B", "Multi", "Never", "A")):
        client = await viewing(world, "ann", str(number), [state])
        assert len(mux._sources.feeds[0]._streams) <= 3
        await client.stop()
    assert mux.metrics()["over_views"] == 0


async def test_further_machines_of_a_user_have_as_many_views_each(world: World) -> None:
    mux = await world.serve(limits=Limits(views=1), heartbeat=CALM)
    mux.serve(machine("other"))
    guest = Guest(world, user="eve")
    await guest.enter()
    of_a, of_b = (View(allowed=frozenset({state})).value() for state in "AB")
    await guest.say(Follow(1, "src", of_a), Follow(2, "src", of_b), Follow(3, "other", of_b))
    assert [(it.request, it.code) for it in guest.refused] == [(2, RefusalCode.LIMIT)]
    (first,) = [it for it in guest.heard if isinstance(it, Followed) and it.request == 1]
    guest.heard.clear()
    await guest.say(Unfollow(first.stream_id), Follow(4, "src", of_b))
    assert guest.refused == []
    assert mux.metrics()["over_views"] == 1
    await guest.leave()


async def test_who_proves_no_key_is_nobody_in_particular(world: World) -> None:
    mux = await world.serve(limits=Limits(views=1), heartbeat=CALM)
    for number, state in enumerate(("A", "B", "Multi")):
        await viewing(world, "", str(number), [state])
    assert mux.metrics()["over_views"] == 0


async def test_payloads_that_a_client_leaves_unconfirmed_are_bounded(world: World) -> None:
    mux = await world.serve(limits=Limits(outbox=2), heartbeat=CALM)
    async with others_unaffected(world, mux):
        guest = Guest(world)
        await guest.enter()
        for n in range(2):
            mux.send_payload("n", n, "guest")
        with pytest.raises(LimitExceeded, match="rc-guest has not confirmed 2 payloads; outbox=2"):
            mux.send_payload("n", 2, "guest")
        assert mux.metrics()["over_outbox"] == 1
    await guest.leave()


async def test_mutations_in_flight_are_bounded(world: World) -> None:
    upstream = await world.serve()
    between = world.client("between", call_timeout=0.1)
    between.start()
    await soon(between.ready())
    mux = Mux(
        between.net_mach, "mem://relay", transport=world.network.transport(),
        limits=Limits(requests_in_flight=2),
    )  # fmt: skip
    world._stack.push_async_callback(mux.stop)
    await mux.start()
    client = await world.follow("far", addr="mem://relay")
    held = world.network.control_fault = Hold()
    first = [client.net_mach.add("Multi") for _ in range(2)]
    await until(lambda: held.count >= 2)
    with pytest.raises(LimitExceeded, match=r"2 mutations .* requests_in_flight=2"):
        await soon(client.net_mach.add("Multi"))
    assert mux.metrics()["over_requests_in_flight"] == 1
    held.on = False
    for reply in first:
        assert await soon(reply) == Result.EXECUTED
    assert await soon(client.net_mach.add("Multi")) == Result.EXECUTED
    assert upstream.source.tick("Multi") == 5


class Hold:
    """Loses the replies of the first source until it is switched off."""

    def __init__(self) -> None:
        self.on = True
        self.count = 0

    def __call__(self, frame: bytes) -> tuple[float, ...]:
        if self.on and isinstance(from_frame(frame), Reply):
            self.count += 1
            return ()
        return (0.0,)


# Rate.


async def test_requests_beyond_the_rate_are_refused_and_not_run(world: World) -> None:
    limits = Limits(requests_per_second=SLOW, requests_burst=20)
    mux = await world.serve(limits=limits, heartbeat=CALM)
    async with others_unaffected(world, mux):
        guest = Guest(world)
        await guest.enter()
        await guest.say(*[Mutate(n, MutationType.ADD, [3], None, 0) for n in range(1, 26)])
        await until(lambda: len(guest.heard) == 25)
        assert [answer.request for answer in guest.refused] == [21, 22, 23, 24, 25]
        assert {answer.code for answer in guest.refused} == {RefusalCode.LIMIT}
        assert "requests_per_second=" in guest.refused[0].reason
        assert mux.metrics()["over_requests_per_second"] == 5
        assert mux.metrics()["over_requests_burst"] == 1
        assert mux.source.queue_tick == 21
        guest.heard.clear()
        # What was done is never refused, and what was not may be tried again later.
        (server,) = [server for server in mux.servers if server.client.name == "rc-guest"]
        await guest.say(Mutate(20, MutationType.ADD, [3], None, 0))
        assert guest.heard == []
        for request in (20, 21):
            server._bucket._tokens = 1.0
            await guest.say(Mutate(request, MutationType.ADD, [3], None, 0))
            assert isinstance(guest.heard.pop(), Reply)
        assert mux.source.tick("Multi") == 2 * 21 - 1
    await guest.leave()


async def test_everything_that_a_client_asks_counts(world: World) -> None:
    limits = Limits(requests_per_second=SLOW, requests_burst=20)
    mux = await world.serve(limits=limits, heartbeat=CALM)
    async with others_unaffected(world, mux):
        guest = Guest(world)
        await guest.enter()
        await guest.say(*[Ping(0)] * 20)
        guest.heard.clear()
        await guest.say(Ping(0), Sync(1, b"", 0), List(2))
        assert guest.heard == []
        await guest.say(Watch(3, WatchKind.QUEUE_ENDS, [], None, 0), Follow(4, "src"))
        assert [(it.request, it.code) for it in guest.refused] == [
            (3, RefusalCode.LIMIT),
            (4, RefusalCode.LIMIT),
        ]
        assert mux.metrics()["over_requests_per_second"] == 5
    await guest.leave()


async def test_mutations_without_reply_beyond_the_rate_are_reported_in_sum(world: World) -> None:
    limits = Limits(requests_per_second=SLOW, requests_burst=20)
    mux = await world.serve(limits=limits, heartbeat=CALM)
    guest = Guest(world)
    await guest.enter()
    await guest.say(*[Mutate(0, MutationType.ADD, [3], None, 0)] * 25)
    (server,) = mux.servers
    server._bucket._tokens = 1.0
    await guest.say(Ping(0))
    (report,) = [message for message in guest.heard if isinstance(message, NsReport)]
    assert (report.received, report.refused) == (25, 5)
    assert "requests_per_second" in report.reason
    await guest.leave()


async def test_strangers_are_answered_at_the_rate_of_one_client(world: World) -> None:
    limits = Limits(requests_per_second=SLOW, requests_burst=20)
    mux = await world.serve(limits=limits, heartbeat=CALM)
    async with others_unaffected(world, mux):
        guests = [Guest(world, f"g{at}") for at in range(5)]
        for guest in guests:
            await guest.say(*[List(1)] * 3, *[Ping(0)] * 3)
        assert sum(len(guest.heard) for guest in guests) == 20
        assert mux.metrics()["over_requests_per_second"] == 10
    for guest in guests:
        await guest.leave()


async def test_a_rate_of_zero_is_no_limit(world: World) -> None:
    await world.serve(limits=Limits(requests_per_second=0, requests_burst=1))
    guest = Guest(world)
    await guest.enter()
    await guest.say(*[Mutate(n, MutationType.ADD, [3], None, 0) for n in range(1, 101)])
    await until(lambda: len(guest.heard) == 100)
    assert guest.refused == []
    await guest.leave()


# What else is an option.


async def test_the_journal_is_as_long_as_the_limits_say_or_the_option_of_its_own(
    world: World,
) -> None:
    short = JournalLimits(messages=2)
    mux = await world.serve(limits=Limits(journal=short))
    other = Mux(
        machine("other"), "mem://other", transport=world.network.transport(),
        limits=Limits(journal=short), journal=JournalLimits(messages=5),
    )  # fmt: skip
    world._stack.push_async_callback(other.stop)
    await other.start()
    for source in (mux, other):
        for _ in range(10):
            source.source.toggle("A")
            source.flush()
    kept = []
    for source in (mux, other):
        stream = source._sources.feeds[0].full
        kept.append(sum(stream.since(stream.head - back) is not None for back in range(10)) - 1)
    assert kept == [2, 5]


async def test_a_question_for_what_the_journal_has_no_more_is_counted(world: World) -> None:
    mux = await world.serve(limits=Limits(journal=JournalLimits(messages=2)), heartbeat=CALM)
    guest = Guest(world)
    welcome = await guest.enter()
    assert isinstance(welcome, Welcome)
    await guest.say(Sync(1, b"", 0))  # a first snapshot exceeds nothing
    for _ in range(10):
        mux.source.toggle("A")
        mux.flush()
    for back, count in ((2, 0), (3, 1), (9, 2)):
        await guest.say(Sync(2, welcome.epoch, 10 - back))
        assert mux.metrics()["over_journal"] == count
    assert mux.counters.snapshots_sent == 3
    await guest.leave()


async def test_the_handshake_of_a_connection_has_the_time_of_the_limits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[SocketOptions] = []
    original = ZmqTransport.__init__

    def note(self: ZmqTransport, options: SocketOptions | None = None, **rest: object) -> None:
        assert options is not None
        made.append(options)
        original(self, options, **rest)  # type: ignore[arg-type]

    monkeypatch.setattr(ZmqTransport, "__init__", note)
    async with Mux(machine(), limits=Limits(handshake=0.25)):
        pass
    assert [options.handshake_ms for options in made] == [250]


async def test_a_handshake_that_takes_longer_is_among_the_metrics() -> None:
    async with Mux(machine(), limits=Limits(handshake=0.05)) as mux:
        host, _, port = mux.addr.removeprefix("tcp://").rpartition(":")
        _, silent = await asyncio.open_connection(host, int(port))
        await until(lambda: mux.metrics()["handshakes_unfinished"] == 1)
        silent.close()
        async with Client(mux.addr):
            await until(lambda: mux.metrics()["handshakes_succeeded"] == 2)
            assert mux.metrics()["connections_accepted"] >= 3


def test_a_limit_is_named_with_its_value_and_the_remedy() -> None:
    guard = Guard(Limits(clients=3))
    error = guard.exceeded("clients", "3 clients are here", "come back later")
    assert isinstance(error, AmzmqError)
    assert error.reason == "3 clients are here; clients=3 at this source: come back later"
    assert guard.metrics()["over_clients"] == 1
