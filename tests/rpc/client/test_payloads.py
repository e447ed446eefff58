"""Payloads: in order with the states, each once, every loss counted."""

from __future__ import annotations

import pytest

from amzmq.errors import InvalidArgs, LimitExceeded, NotConnected
from amzmq.machine import Event
from amzmq.net.options import SocketOptions
from amzmq.rpc import Consumer, Limits, Payload
from amzmq.wire.control import Ack, Directed
from tests.rpc.rig import Losing, Payloads, World, level, soon, turns, until


async def test_a_payload_goes_to_every_follower(world: World) -> None:
    mux = await world.serve()
    taken = [Payloads(await world.follow()) for _ in range(3)]
    token = mux.send_payload("price", {"usd": 1.5, "raw": b"\x00", "list": [1, None]}).token
    await until(lambda: all(at.all for at in taken))
    for at in taken:
        expected = Payload("price", {"usd": 1.5, "raw": b"\x00", "list": [1, None]}, token, "src")
        assert at.all == [expected]


@pytest.mark.parametrize("destination", ["one", "rc-one"])
async def test_a_payload_for_one_client_goes_to_that_alone(world: World, destination: str) -> None:
    mux = await world.serve()
    one, other = Payloads(await world.follow("one")), Payloads(await world.follow("other"))
    mux.send_payload("secret", 1, destination=destination)
    mux.send_payload("public", 2)
    await until(lambda: len(one.all) == 2 and other.all)
    assert sorted(one.data) == [1, 2]
    assert other.data == [2]


async def test_a_payload_for_a_client_that_is_not_there_says_who_is(world: World) -> None:
    mux = await world.serve()
    await world.follow("one")
    with pytest.raises(NotConnected, match="no client 'nobody'; connected are: rc-one"):
        mux.send_payload("x", 1, destination="nobody")


async def test_payloads_and_states_arrive_in_the_order_of_the_source(world: World) -> None:
    mux = await world.serve()
    taken = Payloads(await world.follow("one"))
    times = []
    for n in range(50):
        mux.source.toggle("A")
        mux.send_payload("n", n)
        times.append(tuple(mux.source.time()))
    await until(lambda: len(taken.all) == 50)
    assert taken.data == list(range(50))
    assert taken.times == times


async def test_a_payload_for_one_does_not_come_before_the_states_it_follows(world: World) -> None:
    mux = await world.serve()
    taken = Payloads(await world.follow("one"))
    # Updates take their time, the conversation does not.
    world.network.feed_fault = lambda frame: (0.02,)
    for n in range(5):
        mux.source.add("Multi")
        mux.send_payload("n", n, destination="one")
    expected = mux.source.tick("Multi")
    await until(lambda: len(taken.all) == 5)
    assert taken.data == [0, 1, 2, 3, 4]
    index = mux.source.index("Multi")
    assert [time[index] for time in taken.times] == list(range(1, expected + 1, 2))


async def test_a_handler_s_payload_carries_its_transition(world: World) -> None:
    mux = await world.serve()
    taken = Payloads(await world.follow())
    events: list[str] = []

    def send(e: Event) -> None:
        events.append(e.transition_id)
        mux.send_payload("from handler", 1, event=e)

    mux.source.bind({"AState": send})
    mux.source.add("A")
    await until(lambda: taken.all)
    assert [payload.source_tx for payload in taken.all] == events


async def test_a_consumer_s_machine_takes_each_payload(world: World) -> None:
    mux = await world.serve()
    taken: list[Payload] = []
    consumer = Consumer(taken.append)
    client = await world.follow(consumer=consumer)
    for n in range(5):
        mux.send_payload("n", n)
    await until(lambda: len(taken) == 5)
    assert [payload.data for payload in taken] == [0, 1, 2, 3, 4]
    assert consumer.tick("WorkerPayload") == 9
    assert client.mach.tick("WorkerPayload") == 9
    consumer.dispose()


async def test_payloads_are_iterated_by_name(world: World) -> None:
    mux = await world.serve()
    client = await world.follow()
    prices, everything = client.payloads("price", "rate"), client.payloads()
    for name in ("price", "noise", "rate", "price"):
        mux.send_payload(name, name.upper())
    await level(mux.source, client)
    got = [await soon(anext(prices)) for _ in range(3)]
    assert [payload.name for payload in got] == ["price", "rate", "price"]
    assert [(await soon(anext(everything))).name for _ in range(4)][1] == "noise"
    await prices.aclose()
    with pytest.raises(StopAsyncIteration):
        await soon(anext(prices))


async def test_an_iteration_ends_with_the_client_after_what_came(world: World) -> None:
    mux = await world.serve()
    client = await world.follow()
    iterator = client.payloads()
    mux.send_payload("last", 1)
    await until(lambda: client.metrics()["payloads"] == 1)
    await client.stop()
    assert [payload.data async for payload in iterator] == [1]


async def test_a_slow_reader_loses_the_oldest_and_it_is_counted(world: World) -> None:
    mux = await world.serve()
    client = await world.follow()
    slow, quick = client.payloads(limit=3), client.payloads()
    for n in range(10):
        mux.send_payload("n", n)
    await until(lambda: client.metrics()["payloads"] == 10)
    assert [(await soon(anext(slow))).data for _ in range(3)] == [7, 8, 9]
    assert slow.dropped == 7
    assert quick.dropped == 0
    assert client.metrics()["payloads_dropped"] == 7


async def test_a_failing_callback_costs_nobody_else_a_payload(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    mux = await world.serve()
    client = await world.follow()

    def fail(payload: Payload) -> None:
        raise ValueError("no good")

    client.on_payload(fail)
    taken = Payloads(client)
    mux.send_payload("n", 1)
    mux.source.add("A")
    await level(mux.source, client)
    assert taken.data == [1]
    assert "a payload callback failed" in caplog.text


@pytest.mark.parametrize("data", [1j, {(1,): 2}, 2**70])
@pytest.mark.parametrize("destination", [None, "one"])
async def test_a_payload_that_cannot_travel_harms_nobody(
    world: World, data: object, destination: str | None
) -> None:
    mux = await world.serve()
    client = await world.follow("one")
    taken = Payloads(client)
    with pytest.raises(InvalidArgs, match="cannot travel"):
        mux.send_payload("bad", data, destination=destination)
    mux.send_payload("good", 1, destination=destination)
    await until(lambda: taken.all)
    assert taken.data == [1]
    assert client.metrics()["gaps"] == 0
    assert client.metrics()["garbage"] == 0


# What a client is sent alone is kept until it has confirmed it.


async def test_a_directed_payload_that_was_lost_is_sent_again_before_later_ones(
    world: World,
) -> None:
    mux = await world.serve(heartbeat=0.05)
    taken = Payloads(await world.follow("one"))
    world.network.control_fault = Losing(Directed)
    for n in range(3):
        mux.send_payload("n", n, destination="one")
    await until(lambda: len(taken.all) == 3)
    assert taken.data == [0, 1, 2]


async def test_a_lost_confirmation_is_made_up_for_and_nothing_comes_twice(world: World) -> None:
    mux = await world.serve(heartbeat=0.05)
    client = await world.follow("one")
    taken = Payloads(client)
    world.network.control_fault = Losing(Ack)
    mux.send_payload("n", 1, destination="one")
    server = mux.servers[0]
    await until(lambda: taken.all and not len(server.outbox))
    assert taken.data == [1]


async def test_a_directed_payload_survives_a_reconnect(world: World) -> None:
    mux = await world.serve()
    client = await world.follow("one")
    taken = Payloads(client)
    mux.send_payload("n", 1, destination="one")
    world.network.partition(True)
    world.network.partition(False)
    await until(lambda: taken.all)
    await until(lambda: client.mach.is_("Ready"))
    mux.send_payload("n", 2, destination="one")
    await until(lambda: len(taken.all) == 2)
    assert taken.data == [1, 2]


async def test_directed_payloads_arrive_after_the_source_was_restarted(world: World) -> None:
    mux = await world.serve()
    client = await world.follow("one")
    taken = Payloads(client)
    mux.send_payload("n", 1, destination="one")
    await until(lambda: taken.all)
    await mux.stop()
    again = await world.serve(mux.source)
    await until(lambda: again.clients)
    await until(lambda: client.mach.is_("Ready"))
    again.send_payload("n", 2, destination="one")
    await until(lambda: len(taken.all) == 2)
    assert taken.data == [1, 2]


async def test_directed_payloads_arrive_after_the_client_was_given_up(world: World) -> None:
    mux = await world.serve(heartbeat=0.02)
    client = await world.follow("one")
    taken = Payloads(client)
    mux.send_payload("n", 1, destination="one")
    await until(lambda: taken.all)
    world.network.partition(True)
    await until(lambda: not mux.clients)
    world.network.partition(False)
    await until(lambda: client.mach.is_("Ready"))
    mux.send_payload("n", 2, destination="one")
    await until(lambda: len(taken.all) == 2)
    assert taken.data == [1, 2]


async def test_an_outbox_that_is_full_refuses_further_payloads(world: World) -> None:
    mux = await world.serve(limits=Limits(outbox=3))
    await world.follow("one")
    for n in range(3):
        mux.send_payload("n", n, destination="one")
    with pytest.raises(LimitExceeded, match="rc-one has not confirmed 3 payloads"):
        mux.send_payload("n", 3, destination="one")
    await turns()
    mux.send_payload("n", 3, destination="one")


def test_a_default_payload_fits_a_frame() -> None:
    assert SocketOptions().max_frame_bytes == 4 * 1024 * 1024
