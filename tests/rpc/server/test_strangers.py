"""Garbage, giants and strangers: counted, said once, and nobody else notices."""

from __future__ import annotations

import logging
import random

import pytest

from amzmq.machine import MutationType, Result
from amzmq.net.memory_conversation import MemoryDealer
from amzmq.rpc import Limits
from amzmq.wire.codec import encode
from amzmq.wire.control import (
    Bye,
    Directed,
    Hello,
    Message,
    Mutate,
    Ping,
    Refusal,
    RefusalCode,
    Reply,
    Sync,
    Welcome,
)
from amzmq.wire.control_frames import from_frame, to_frame
from tests.rpc.rig import ADDR, FEED, Payloads, World, level, soon, turns, until


class Stranger:
    """A bare dealer, and what it was told."""

    def __init__(self, world: World) -> None:
        self.heard: list[Message] = []
        self.dealer: MemoryDealer = world.network.transport().dealer(
            ADDR, lambda frame, blobs: self.heard.append(from_frame(frame)), lambda connected: None
        )

    async def say(self, *frames: bytes) -> None:
        await until(lambda: self.dealer.connected)
        for frame in frames:
            self.dealer.send(frame)
        await turns(5)


async def admitted(world: World) -> Stranger:
    stranger = Stranger(world)
    await stranger.say(to_frame(Hello(1, "rc-stranger", b"12345678", b"")))
    await until(lambda: stranger.heard)
    assert isinstance(stranger.heard.pop(), Welcome)
    return stranger


async def test_garbage_at_the_router_is_counted_and_said_once(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    mux = await world.serve()
    client = await world.follow()
    stranger = Stranger(world)
    with caplog.at_level(logging.WARNING):
        await stranger.say(b"", b"\xc1", b"GET / HTTP/1.1", encode([99]), encode([1, "x"]))
    assert mux.counters.garbage == 5
    assert len([r for r in caplog.records if "further ones are only counted" in r.message]) == 1
    assert stranger.heard == []
    assert await soon(client.net_mach.add("A")) == Result.EXECUTED
    assert client.metrics()["garbage"] == 0
    stranger.dealer.close()


async def test_an_oversized_request_is_counted_and_not_read(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    mux = await world.serve(limits=Limits(request_bytes=1000, stranger_bytes=1000))
    client = await world.follow()
    stranger = await admitted(world)
    large = to_frame(Mutate(1, MutationType.ADD, [0], {"blob": b"x" * 1000}, 0))
    await stranger.say(large, large)
    assert mux.counters.oversized == 2
    assert caplog.text.count("request_bytes=1000") == 1
    assert mux.source.not_("A")
    assert await soon(client.net_mach.add("A")) == Result.EXECUTED
    stranger.dealer.close()


async def test_garbage_on_the_feed_is_counted_and_said_once(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    mux = await world.serve()
    client = await world.follow()
    for frame in (b"", b"\x05rubbish", b"x" * 1000):
        world.network.inject_garbage(FEED, frame)
    await until(lambda: mux.counters.garbage == 3)
    assert caplog.text.count("on the feed that are no subscription") == 1
    mux.source.add("A")
    await level(mux.source, client)


@pytest.mark.parametrize("topic", [b"", b"\x00", b"streamid", b"x" * 100])
async def test_nobody_hears_the_feed_without_knowing_its_stream(world: World, topic: bytes) -> None:
    mux = await world.serve()
    client = await world.follow()
    frames: list[bytes] = []
    spy = world.network.transport().subscriber(FEED, frames.extend)
    spy.subscribe(topic)
    await until(lambda: mux.counters.garbage == 1)
    mux.source.add("A")
    await level(mux.source, client)
    assert frames == []
    spy.close()


async def test_whoever_did_not_say_hello_is_told_to(world: World) -> None:
    await world.serve()
    stranger = Stranger(world)
    await stranger.say(to_frame(Ping(0)), to_frame(Mutate(7, 0, [0], None, 0)))
    await until(lambda: len(stranger.heard) == 2)
    assert stranger.heard == [
        Refusal(0, RefusalCode.NO_SESSION, "say Hello first"),
        Refusal(7, RefusalCode.NO_SESSION, "say Hello first"),
    ]
    stranger.dealer.close()


@pytest.mark.parametrize(
    ("mutate", "said"),
    [
        (Mutate(7, MutationType.ADD, [99], None, 0), r"state indexes [99] of 9 states"),
        (Mutate(7, MutationType.ADD, [-1], None, 0), r"state indexes [-1] of 9 states"),
        (Mutate(7, MutationType.ADD, [2**63], None, 0), "of 9 states"),
        (Mutate(7, 3, [0], None, 0), "mutation type 3"),
        (Mutate(7, 77, [0], None, 0), "mutation type 77"),
    ],
)
async def test_a_request_that_cannot_be_done_is_refused_and_changes_nothing(
    world: World, mutate: Mutate, said: str
) -> None:
    mux = await world.serve()
    stranger = await admitted(world)
    await stranger.say(to_frame(mutate))
    await until(lambda: stranger.heard)
    refusal = stranger.heard[0]
    assert isinstance(refusal, Refusal)
    assert (refusal.request, refusal.code) == (7, RefusalCode.BAD_REQUEST)
    assert said in refusal.reason
    assert mux.source.queue_tick == 1
    stranger.dealer.close()


@pytest.mark.parametrize("source", [[], [1], ["m"], ["m", "t"], [None] * 3, [[], {}, -1, "more"]])
async def test_a_request_of_a_strange_origin_is_done_or_refused(
    world: World, source: list[object], caplog: pytest.LogCaptureFixture
) -> None:
    await world.serve()
    stranger = await admitted(world)
    await stranger.say(to_frame(Mutate(7, MutationType.ADD, [0], None, 0, source)))
    await until(lambda: stranger.heard)
    assert isinstance(stranger.heard[0], Reply | Refusal)
    assert "reading goes on" not in caplog.text
    stranger.dealer.close()


async def test_messages_that_are_not_for_a_source_are_garbage(world: World) -> None:
    mux = await world.serve()
    stranger = await admitted(world)
    await stranger.say(
        to_frame(Welcome(1, b"e", b"s", "f", "m", 1)), to_frame(Directed(1, 0, "n", 0, b"t"))
    )
    assert mux.counters.garbage == 2
    stranger.dealer.close()


async def test_a_stranger_that_asks_for_any_position_gets_a_snapshot(world: World) -> None:
    mux = await world.serve()
    stranger = await admitted(world)
    for epoch in (b"", b"wrong", mux._sources.feeds[0].epoch):
        for number in (-(2**63), -1, 0, 1, 2**63):
            await stranger.say(to_frame(Sync(1, epoch, number)))
    await until(lambda: len(stranger.heard) == 15)
    stranger.dealer.close()


@pytest.mark.parametrize("seed", range(3))
async def test_no_bytes_raise_anything_in_a_source(
    world: World, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    mux = await world.serve()
    client = await world.follow()
    stranger = await admitted(world)
    rng = random.Random(seed)
    values: list[object] = [0, 1, -1, 2**63, "", "x", b"", None, True, 1.5, [], [0], [b""], {}]

    def frame() -> bytes:
        if rng.random() < 0.3:
            return rng.randbytes(rng.randrange(40))
        return encode([rng.randrange(16), *rng.choices(values, k=rng.randrange(8))])

    for _ in range(100):
        if not stranger.dealer.connected or len(mux.clients) < 2:
            stranger.dealer.send(to_frame(Hello(1, "rc-stranger", b"12345678", b"")))
        await stranger.say(*[frame() for _ in range(10)])
    assert "reading goes on" not in caplog.text
    assert await soon(client.net_mach.set("A")) == Result.EXECUTED
    await level(mux.source, client)
    stranger.dealer.close()


async def test_garbage_at_a_client_is_counted_and_said_once(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    mux = await world.serve()
    client = await world.follow()
    for frame in (b"", b"\xc1", encode([99]), to_frame(Ping(0)), to_frame(Sync(1, b"", 0))):
        client.conversation.on_message(frame, ())
    for frame in (b"", b"12345678", b"12345678\x01\xc1", b"12345678\x09\x90"):
        client.follower.on_frames([frame])
    assert client.metrics()["garbage"] == 9
    assert caplog.text.count("further ones are only counted") == 2
    assert await soon(client.net_mach.add("A")) == Result.EXECUTED
    await level(mux.source, client)


@pytest.mark.parametrize(
    "welcome",
    [
        Welcome(1, b"epoch", b"streamid", FEED, "m", 1000, [["A"]]),
        Welcome(1, b"epoch", b"streamid", FEED, "m", 1000, None),
        Welcome(1, b"epoch", b"streamid", "no endpoint", "m", 1000, [["A", 0, [], [], [], [], []]]),
    ],
    ids=["bad schema", "no schema", "bad feed"],
)
async def test_a_welcome_that_makes_no_sense_raises_nothing(
    world: World, welcome: Welcome, caplog: pytest.LogCaptureFixture
) -> None:
    client = world.client(conn_retries=0, call_timeout=0.05)
    router = world.network.transport().router(
        ADDR, lambda peer, frame, blobs: router.send(peer, to_frame(welcome)) and None
    )
    client.start()
    await until(lambda: client.mach.is_("ConnRetryFailed"))
    assert "reading goes on" not in caplog.text
    router.close()


async def test_a_stranger_cannot_end_another_client_s_conversation(world: World) -> None:
    mux = await world.serve()
    client = await world.follow("one")
    stranger = await admitted(world)
    await stranger.say(to_frame(Bye("the end")))
    await until(lambda: list(mux.clients) == ["rc-one"])
    assert client.mach.is_("Ready")
    taken = Payloads(client)
    mux.send_payload("n", 1)
    await until(lambda: taken.all)
    stranger.dealer.close()
