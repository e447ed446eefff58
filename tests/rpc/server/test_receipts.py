"""What becomes of payloads: their sender knows, or it is counted (spec rpc 8)."""

from __future__ import annotations

import asyncio

import pytest

from amzmq.errors import DeliveryFailed, DestinationUnknown, Remedy
from amzmq.machine import Event
from amzmq.rpc import Client, Consumer, Mux, Payload
from amzmq.rpc.server.sessions import DEPARTED_KEPT
from amzmq.wire.control import Ack, Directed
from tests.rpc.rig import PATIENCE_S, QUICK, Losing, Payloads, World, machine, soon, turns, until


async def test_a_payload_for_one_is_done_when_it_was_taken(world: World) -> None:
    mux = await world.serve()
    taken = Payloads(await world.follow("one"))
    losing = world.network.control_fault = Losing(Directed, 1)
    receipt = mux.send_payload("n", 1, destination="one")
    await until(lambda: losing.lost)
    await turns()
    assert not receipt.done()
    mux.servers[0].outbox.resend()
    await soon(receipt)
    assert receipt.done()
    assert (receipt.name, receipt.destination) == ("n", "rc-one")
    assert [payload.token for payload in taken.all] == [receipt.token]
    await soon(receipt)  # again, with the same answer


async def test_an_iteration_a_callback_and_a_consumer_each_take_payloads(world: World) -> None:
    mux = await world.serve()
    consumer = Consumer(lambda payload: None)
    iterating = (await world.follow("iterating")).payloads("n")
    (await world.follow("calling")).on_payload(lambda payload: None)
    await world.follow("consuming", consumer=consumer)
    for name in ("iterating", "calling", "consuming"):
        await soon(mux.send_payload("n", 1, destination=name))
    await iterating.aclose()
    consumer.dispose()
    assert mux.metrics()["payloads_failed"] == 0


async def test_a_payload_that_nobody_takes_there_failed(world: World) -> None:
    mux = await world.serve()
    client = await world.follow("one")
    others = client.payloads("other name")
    receipt = mux.send_payload("n", 1, destination="one")
    with pytest.raises(DeliveryFailed, match="'n' was not taken by rc-one: nobody takes") as caught:
        await soon(receipt)
    assert (caught.value.name, caught.value.destination) == ("n", "rc-one")
    assert caught.value.remedy is Remedy.LOOK_FIRST
    assert mux.metrics()["payloads_failed"] == 1
    await others.aclose()


async def test_a_payload_that_the_consumer_refuses_failed(world: World) -> None:
    mux = await world.serve()
    taken: list[Payload] = []
    consumer = Consumer(taken.append, id="eater")

    def refuse(e: Event) -> bool:
        payload = e.args["payload"]
        assert isinstance(payload, Payload)
        return payload.data != "poison"

    consumer.bind({"WorkerPayloadEnter": refuse})
    await world.follow("one", consumer=consumer)
    with pytest.raises(DeliveryFailed, match="the consumer eater refused it"):
        await soon(mux.send_payload("n", "poison", destination="one"))
    await soon(mux.send_payload("n", "bread", destination="one"))
    assert [payload.data for payload in taken] == ["bread"]
    consumer.dispose()


async def test_a_payload_whose_callback_fails_failed_with_its_error(world: World) -> None:
    mux = await world.serve()
    client = await world.follow("one")

    def fail(payload: Payload) -> None:
        raise KeyError("no such price")

    client.on_payload(fail)
    taken = Payloads(client)
    with pytest.raises(DeliveryFailed, match="a callback failed: KeyError"):
        await soon(mux.send_payload("n", 1, destination="one"))
    assert taken.data == [1]


async def test_of_several_only_the_useless_ones_fail(world: World) -> None:
    mux = await world.serve()
    client = await world.follow("one")
    iterating = client.payloads("good")
    receipts = [
        mux.send_payload(name, n, destination="one")
        for n, name in enumerate(("good", "bad", "good", "bad", "good"))
    ]
    done = await soon(asyncio.gather(*map(_fate, receipts)))
    assert done == [None, DeliveryFailed, None, DeliveryFailed, None]
    assert mux.metrics()["payloads_failed"] == 2
    await iterating.aclose()


async def _fate(receipt: object) -> type | None:
    try:
        await receipt  # type: ignore[misc]
    except DeliveryFailed as error:
        return type(error)
    return None


async def test_a_payload_for_a_client_that_comes_back_is_taken_then(world: World) -> None:
    mux = await world.serve()
    client = await world.follow("one")
    taken = Payloads(client)
    world.network.partition(True)
    receipt = mux.send_payload("n", 1, destination="one")
    await until(lambda: client.mach.not_("Ready"))
    assert not receipt.done()
    world.network.partition(False)
    await soon(receipt)
    assert taken.data == [1]


async def test_a_confirmation_that_was_lost_is_made_up_for(world: World) -> None:
    mux = await world.serve(heartbeat=0.05)
    taken = Payloads(await world.follow("one"))
    losing = world.network.control_fault = Losing(Ack, 2)
    await soon(mux.send_payload("n", 1, destination="one"))
    assert len(losing.lost) == 2
    assert taken.data == [1]


async def test_a_payload_whose_client_left_for_good_failed(world: World) -> None:
    mux = await world.serve()
    client = await world.follow("one")
    Payloads(client)
    world.network.control_fault = Losing(Directed, 10)
    receipt = mux.send_payload("n", 1, destination="one")
    await client.stop()
    await turns()
    assert not receipt.done()  # it may come back
    await mux.stop()
    with pytest.raises(DeliveryFailed, match="it left before it confirmed the payload"):
        await soon(receipt)


async def test_those_who_left_are_remembered_up_to_a_limit(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert DEPARTED_KEPT > 1
    monkeypatch.setattr("amzmq.rpc.server.sessions.DEPARTED_KEPT", 1)
    mux = await world.serve()
    first, second = await world.follow("first"), await world.follow("second")
    world.network.control_fault = Losing(Directed, 10)
    receipt = mux.send_payload("n", 1, destination="first")
    for client in (first, second):
        client._transport = client.transport
        await client.stop()
    await until(lambda: not mux.clients)
    with pytest.raises(DeliveryFailed, match="it left before"):
        await soon(receipt)


async def test_nobody_of_that_name_is_an_error_at_once(world: World) -> None:
    mux = await world.serve()
    with pytest.raises(DestinationUnknown, match="connected are: none"):
        mux.send_payload("n", 1, destination="nobody")


async def test_a_payload_for_everybody_is_done_when_it_is_published(world: World) -> None:
    mux = await world.serve(heartbeat=0.03)
    useless, useful = await world.follow("useless"), Payloads(await world.follow("useful"))
    receipt = mux.send_payload("n", 1)
    assert receipt.done()
    assert receipt.destination == ""
    await soon(receipt)
    await until(lambda: useful.all)
    # Those who had no use for it say so with their heartbeat.
    await until(lambda: mux.metrics()["payloads_failed"] == 1)
    assert useless.metrics()["payloads_failed"] == 1
    assert useful.client.metrics()["payloads_failed"] == 0


async def test_a_thread_may_send_and_wait_for_what_becomes_of_it(world: World) -> None:
    mux = await world.serve()
    client = await world.follow("one")

    def work(destination: str | None) -> str:
        receipt = mux.send_payload("n", 1, destination=destination)
        try:
            receipt.result(timeout=PATIENCE_S)
        except DeliveryFailed as error:
            return error.reason
        return "taken"

    assert await soon(asyncio.to_thread(work, "one")) == "nobody takes payloads of this name there"
    taken = Payloads(client)
    assert await soon(asyncio.to_thread(work, "one")) == "taken"
    assert await soon(asyncio.to_thread(work, None)) == "taken"
    await until(lambda: len(taken.all) == 2)


async def test_a_receipt_can_be_waited_for_no_longer_than_wanted(world: World) -> None:
    mux = await world.serve()
    Payloads(await world.follow("one"))
    world.network.control_fault = Losing(Directed, 1)
    receipt = mux.send_payload("n", 1, destination="one")
    with pytest.raises(TimeoutError):
        await asyncio.to_thread(receipt.result, 0.01)
    mux.servers[0].outbox.resend()
    await soon(receipt)


async def test_receipts_over_real_sockets() -> None:
    async with Mux(machine()) as mux, Client(mux.addr, name="one", **QUICK) as client:
        with pytest.raises(DeliveryFailed, match="nobody takes"):
            await soon(mux.send_payload("n", 1, destination="one"))
        taken = Payloads(client)
        await soon(mux.send_payload("n", {"x": [1]}, destination="one"))
        assert taken.data == [{"x": [1]}]
