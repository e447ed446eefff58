"""Publisher and subscriber: what holds on every transport."""

from __future__ import annotations

from collections.abc import Sequence

from amzmq.errors import AddressInUse

from .conftest import Ends, World, until


async def test_a_confirmed_subscriber_gets_its_topic_only(world: World, ends: Ends) -> None:
    ends.allowed = {b"AAAA", b"BBBB"}
    pub = world.source.publisher(
        world.any_address, ends.on_subscribe, ends.ended.append, ends.garbage.append
    )
    sub = world.client.subscriber(pub.endpoint, ends.frames.extend)
    sub.subscribe(b"AAAA")
    await until(lambda: ends.asked == [b"AAAA"])
    pub.send(b"BBBBno")
    pub.send(b"AAAAyes")
    await until(lambda: ends.frames)
    assert ends.frames == [b"AAAAyes"]
    sub.subscribe(b"BBBB")
    await until(lambda: len(ends.asked) == 2)
    pub.send(b"BBBByes")
    await until(lambda: len(ends.frames) == 2)
    assert ends.garbage == []


async def test_a_refused_subscription_gets_nothing_nor_does_the_empty_prefix(
    world: World, ends: Ends
) -> None:
    ends.allowed = {b"good"}
    pub = world.source.publisher(
        world.any_address, ends.on_subscribe, ends.ended.append, ends.garbage.append
    )
    spy = Ends()
    spying = world.client.subscriber(pub.endpoint, spy.frames.extend)
    for topic in (b"", b"g", b"goo", b"other"):
        spying.subscribe(topic)
    sub = world.client.subscriber(pub.endpoint, ends.frames.extend)
    sub.subscribe(b"good")
    await until(lambda: len(ends.asked) == 5)
    for n in range(50):
        pub.send(b"good%d" % n)
        pub.send(b"other%d" % n)
    await until(lambda: len(ends.frames) == 50)
    # The spy's connection is as good as the other: one confirmed frame gets through, last.
    ends.allowed.add(b"last")
    spying.subscribe(b"last")
    await until(lambda: b"last" in ends.asked)
    pub.send(b"last")
    await until(lambda: spy.frames)
    assert spy.frames == [b"last"]


async def test_a_refused_subscription_that_is_renewed_is_asked_again(
    world: World, ends: Ends
) -> None:
    pub = world.source.publisher(
        world.any_address, ends.on_subscribe, ends.ended.append, ends.garbage.append
    )
    sub = world.client.subscriber(pub.endpoint, ends.frames.extend)
    sub.subscribe(b"T")
    await until(lambda: ends.asked == [b"T"])
    ends.allowed.add(b"T")
    sub.subscribe(b"T")
    await until(lambda: ends.asked == [b"T", b"T"])
    pub.send(b"T1")
    await until(lambda: ends.frames == [b"T1"])
    sub.unsubscribe(b"T")
    await until(lambda: ends.ended)
    assert ends.ended == [b"T"]


async def test_an_ended_subscription_gets_nothing_more(world: World, ends: Ends) -> None:
    ends.allowed = {b"A", b"B"}
    pub = world.source.publisher(
        world.any_address, ends.on_subscribe, ends.ended.append, ends.garbage.append
    )
    sub = world.client.subscriber(pub.endpoint, ends.frames.extend)
    sub.subscribe(b"A")
    sub.subscribe(b"B")
    sub.unsubscribe(b"never asked for")
    await until(lambda: len(ends.asked) == 2)
    sub.unsubscribe(b"A")
    await until(lambda: ends.ended == [b"A"])
    pub.send(b"A1")
    pub.send(b"B1")
    await until(lambda: ends.frames)
    assert ends.frames == [b"B1"]


async def test_a_subscriber_that_leaves_is_noticed(world: World, ends: Ends) -> None:
    ends.allowed = {b"A"}
    pub = world.source.publisher(
        world.any_address, ends.on_subscribe, ends.ended.append, ends.garbage.append
    )
    sub = world.client.subscriber(pub.endpoint, ends.frames.extend)
    sub.subscribe(b"A")
    sub.subscribe(b"refused")
    await until(lambda: len(ends.asked) == 2)
    sub.close()
    sub.close()
    await until(lambda: len(ends.ended) == 2)
    assert set(ends.ended) == {b"A", b"refused"}


async def test_subscriptions_are_asked_again_of_a_returned_publisher(
    world: World, ends: Ends
) -> None:
    ends.allowed = {b"A"}
    pub = world.source.publisher(
        world.any_address, ends.on_subscribe, ends.ended.append, ends.garbage.append
    )
    address = pub.endpoint
    sub = world.client.subscriber(address, ends.frames.extend)
    sub.subscribe(b"A")
    await until(lambda: ends.asked == [b"A"])
    pub.close()
    again = []

    def bind_again() -> bool:
        try:
            again.append(
                world.source.publisher(
                    address, ends.on_subscribe, ends.ended.append, ends.garbage.append
                )
            )
        except AddressInUse:
            return False
        return True

    await until(bind_again)
    await until(lambda: ends.asked == [b"A", b"A"])
    again[0].send(b"A after")
    await until(lambda: ends.frames == [b"A after"])


async def test_failing_callbacks_confirm_nothing_and_break_nothing(
    world: World, ends: Ends
) -> None:
    def on_subscribe(topic: bytes) -> bool:
        ends.asked.append(topic)
        if topic == b"bad":
            raise ValueError("no good")
        return True

    def on_frames(frames: Sequence[bytes]) -> None:
        ends.frames.extend(frames)
        raise ValueError("nor this")

    def on_unsubscribe(topic: bytes) -> None:
        ends.ended.append(topic)
        raise ValueError("nor that")

    pub = world.source.publisher(
        world.any_address, on_subscribe, on_unsubscribe, ends.garbage.append
    )
    sub = world.client.subscriber(pub.endpoint, on_frames)
    for topic in (b"bad", b"good"):
        sub.subscribe(topic)
    await until(lambda: len(ends.asked) == 2)
    for frame in (b"bad", b"good1", b"good2"):
        pub.send(frame)
    await until(lambda: len(ends.frames) == 2)
    assert ends.frames == [b"good1", b"good2"]
    sub.unsubscribe(b"bad")
    sub.unsubscribe(b"good")
    await until(lambda: len(ends.ended) == 2)
