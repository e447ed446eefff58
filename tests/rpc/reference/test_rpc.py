"""The reference's rpc tests: calls, waits, what they cost, payloads, several clients.

tests/rpc/README.md maps the names. A window of bytes is of what travels above ZMTP's framing, which
adds 2 bytes a frame.
"""

from __future__ import annotations

import asyncio

import pytest

from amzmq.machine import Event, Result, State
from amzmq.rpc import Consumer, Payload, Server, ServerRequest
from amzmq.wire.control import Hello, Mutate, NsReport, Sync
from amzmq.wire.control_frames import from_frame

from .sources import Link, Links, clock_of, no_rels, rels, soon

CALL_BYTES = 44
"""A request and its reply, at most."""

NOTIFY_BYTES = 20
"""A mutation without a reply, at most."""


def conversation(link: Link) -> list[str]:
    """What the client said, in order, heartbeats left out."""
    sent = map(from_frame, link.wire.sent)
    return [type(m).__name__ for m in sent if isinstance(m, Hello | Sync | Mutate)]


async def test_basic(link: Links) -> None:
    it = await link(no_rels(Foo=State()))
    assert await it.net.add("Foo") == Result.EXECUTED
    assert it.source.is_("Foo")
    assert it.net.is_("Foo")
    assert it.mux.mach.is_("Ready", "HasClients")
    assert it.client.mach.is_("Ready")
    for machine in (it.source, it.net, it.mux.mach, it.client.mach):
        assert machine.tick("Exception") == 0


async def test_two_states_in_one_call(link: Links) -> None:
    it = await link(no_rels())
    await it.net.add("A", "C")
    assert it.source.is_("A", "C")
    assert it.net.is_("A", "C")
    assert clock_of(it.net) == clock_of(it.source) == ((0, 1, 0, 1, 0, 0), 2, 0)


async def test_waiting_costs_one_call(link: Links) -> None:
    it = await link(no_rels())
    wait = it.net.when("A")
    await it.net.add("A")
    await soon(wait)
    assert it.client.call_count == 1
    assert conversation(it) == ["Hello", "Sync", "Mutate"]
    assert it.client.metrics()["updates"] == 1
    handshake = sum(map(len, [*it.wire.sent, *it.wire.received])) - it.wire.bytes_of_calls()
    assert it.wire.bytes_of_calls() <= CALL_BYTES
    # The reference has 1,300 to 1,400 for all of it.
    assert handshake < 400


async def test_the_feed_gives_no_push_that_a_reply_has_brought(link: Links) -> None:
    it = await link(no_rels())
    await it.net.add("A")
    await it.client.sync()
    metrics = it.client.metrics()
    assert (metrics["updates"], metrics["duplicates"]) == (1, 1)
    assert it.mux.published["updates"] == 1


@pytest.mark.parametrize("push_interval", [0.0, 1e-9], ids=["AddMany", "AddManyInstantClock"])
async def test_many_calls(link: Links, push_interval: float) -> None:
    options = {"push_interval": push_interval} if push_interval else {}
    it = await link(no_rels(D=State(multi=True)), options)
    for _ in range(501):
        assert await it.net.add("D") == Result.EXECUTED
    assert it.net.tick("D") == it.source.tick("D") == 1001
    assert clock_of(it.net) == clock_of(it.source)
    assert it.client.call_count == 501
    assert it.wire.bytes_of_calls() <= 501 * CALL_BYTES
    # By the replies, not by the feed: those came too late each time.
    assert it.client.metrics()["updates"] == 501


async def test_many_calls_without_a_reply(link: Links) -> None:
    it = await link(no_rels(D=State(multi=True)))
    for _ in range(501):
        assert it.net.add_ns("D") == Result.EXECUTED
    assert it.net.tick("D") == 0
    await soon(it.client.sync())
    assert it.net.tick("D") == it.source.tick("D") == 1001
    assert clock_of(it.net) == clock_of(it.source)
    calls = [f for f in it.wire.sent if isinstance(from_frame(f), Mutate)]
    assert len(calls) == 501
    assert sum(map(len, calls)) <= 501 * NOTIFY_BYTES
    reports = [f for f in it.wire.received if isinstance(from_frame(f), NsReport)]
    assert sum(map(len, reports)) <= 501


async def test_many_states(link: Links) -> None:
    extra = {f"S{n}": State() for n in range(100)}
    it = await link(no_rels(**extra))
    for n in range(91):
        assert await it.net.add(f"S{n}") == Result.EXECUTED
        assert await it.net.remove(f"S{n}") == Result.EXECUTED
    assert it.net.time() == (*[0] * 5, *[2] * 91, *[0] * 9, 0)
    assert clock_of(it.net) == clock_of(it.source)
    assert it.client.call_count == 182
    assert conversation(it) == ["Hello", "Sync", *["Mutate"] * 182]
    assert it.wire.bytes_of_calls() <= 182 * CALL_BYTES


async def test_high_clocks_cost_no_more(link: Links) -> None:
    source = rels()
    high = [0, 1_000_000, 0, 1_000_000, 0, 0]
    source.import_({**source.export(), "time": high})
    it = await link(source)
    assert it.net.time() == tuple(high)
    for n in range(1001):
        assert await (it.net.remove("C") if n % 2 else it.net.add("C")) == Result.EXECUTED
    assert it.net.time() == (0, 1_001_001, 0, 1_001_001, 0, 0)
    assert clock_of(it.net) == clock_of(it.source)
    assert it.wire.bytes_of_calls() <= 1001 * CALL_BYTES


async def test_a_one_state_add_fits_in_44_bytes_and_20_without_a_reply(link: Links) -> None:
    it = await link(no_rels())
    it.wire.clear()
    await it.net.add("A")
    assert it.wire.bytes_of_calls() <= CALL_BYTES
    it.wire.clear()
    it.net.add_ns("B")
    await soon(it.client.sync())
    [mutation] = [f for f in it.wire.sent if isinstance(from_frame(f), Mutate)]
    assert len(mutation) <= NOTIFY_BYTES


async def test_mutations_of_the_source_are_pushed(link: Links) -> None:
    it = await link(rels())
    for states in ("C", "B", "D"):
        it.source.add(states)
        await it.level()
    it.source.remove("C")
    await it.level()
    assert it.net.time() == it.source.time()
    assert it.client.call_count == 0


async def test_many_mutations_of_the_source_are_pushed_in_few_updates(link: Links) -> None:
    it = await link(no_rels(D=State(multi=True)))
    for _ in range(1000):
        it.source.add("D")
    await it.level()
    assert it.net.tick("D") == 1999
    assert it.net.queue_tick == 1001
    # All in one turn of the loop.
    assert it.client.metrics()["updates"] == 1


async def test_payload(link: Links) -> None:
    source = no_rels(ProvideHello=State(multi=True))
    taken: asyncio.Queue[Payload] = asyncio.Queue()
    it = await link(source, consumer=Consumer(taken.put_nowait))

    def provide(e: Event) -> None:
        it.mux.send_payload(str(e.args["name"]), "Hello", event=e)

    source.bind({"ProvideHelloState": provide})
    await it.net.add("ProvideHello", name="greeting")
    payload = await soon(taken.get())
    assert (payload.name, payload.data, payload.source) == ("greeting", "Hello", "src")
    assert payload.source_tx
    assert it.client.consumer is not None
    assert it.client.consumer.tick("WorkerPayload") == 1


async def test_a_payload_state_of_the_source_sends_payloads(link: Links) -> None:
    source = no_rels(SendPayload=State(multi=True))
    source.bind({"AState": lambda e: None})
    taken: asyncio.Queue[Payload] = asyncio.Queue()
    it = await link(source, consumer=Consumer(taken.put_nowait))
    source.add("SendPayload", name="greeting", payload={"text": "Hello"})
    payload = await soon(taken.get())
    assert (payload.name, payload.data) == ("greeting", {"text": "Hello"})
    await it.level()
    assert source.not_("SendPayload")


async def test_three_clients_of_one_mux(link: Links) -> None:
    source = rels()
    asked: list[str] = []

    def new_server(request: ServerRequest) -> Server:
        asked.append(request.client_id)
        return request.serve(source)

    mux = await link.serve(None, name="many", new_server=new_server)
    clients = [await link.follow(mux, source, name=f"c{n}") for n in range(3)]
    assert asked == sorted(mux.clients) == ["rc-c0", "rc-c1", "rc-c2"]
    assert await clients[0].net.add("C") == Result.EXECUTED
    for it in clients:
        await soon(it.net.when("C"))
        await it.level()
        assert it.net.is_("A", "C")
        assert it.client.mach.is_("Ready")
    assert mux.mach.is_("HasClients")
