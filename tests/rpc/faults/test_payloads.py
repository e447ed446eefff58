"""Faults 27 and 32: payloads that arrive once, and buffers that have an end."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from amzmq.errors import DeliveryFailed, FrameTooLarge, LimitExceeded
from amzmq.net.options import SocketOptions
from amzmq.rpc import Limits
from amzmq.wire.control import Ack, Directed
from amzmq.wire.control_frames import from_frame
from amzmq.wire.journal import JournalLimits

from ..rig import Losing, Payloads, World, level, soon, turns, until
from .tampering import PATIENT


async def test_fault_27_success_means_that_somebody_took_it(world: World) -> None:
    mux = await world.serve()
    client = await world.follow("one")
    useless = mux.send_payload("n", 1, destination="one")
    with pytest.raises(DeliveryFailed, match="nobody takes payloads of this name"):
        await soon(useless)
    taken = Payloads(client)
    losing = world.network.control_fault = Losing(Directed, 1)
    receipt = mux.send_payload("n", 2, destination="one")
    await until(lambda: losing.lost)
    await turns()
    assert not receipt.done()
    mux.servers[0].outbox.resend()
    await soon(receipt)
    assert taken.data == [2]


async def test_fault_27_what_is_repeated_is_taken_once(world: World) -> None:
    mux = await world.serve(heartbeat=0.05)
    taken = Payloads(await world.follow("one"))
    losing = world.network.control_fault = Losing(Ack, 5)
    receipts = [mux.send_payload("n", n, destination="one") for n in range(5)]
    for receipt in receipts:
        await soon(receipt)
    assert len(losing.lost) == 5
    assert taken.data == [0, 1, 2, 3, 4]
    assert len({payload.token for payload in taken.all}) == 5


@pytest.mark.parametrize("destination", [None, "one"])
async def test_fault_27_what_is_too_large_is_its_sender_s_error(
    world: World, destination: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SocketOptions, "__init__", lambda self: None)
    monkeypatch.setattr(SocketOptions, "max_frame_bytes", 1000, raising=False)
    mux = await world.serve()
    client = await world.follow("one")
    taken = Payloads(client)
    with pytest.raises(FrameTooLarge):
        mux.send_payload("n", b"x" * 1001, destination=destination)
    await soon(mux.send_payload("n", b"x", destination=destination))
    await until(lambda: taken.all)
    assert taken.data == [b"x"]
    assert client.metrics()["gaps"] == 0


async def test_fault_32_a_client_that_does_not_read_costs_a_bounded_amount(
    world: World,
) -> None:
    mux = await world.serve(heartbeat=PATIENT, limits=Limits(outbox=10))
    slow, quick = await world.follow("slow"), await world.follow("quick")
    taken = Payloads(quick)

    def stuck(frame: bytes) -> Sequence[float]:
        return (1000.0 if isinstance(from_frame(frame), Directed) else 0.0,)

    world.network.control_fault = stuck
    world.network.peer_limit = 5
    for n in range(10):
        mux.send_payload("n", n, destination="slow")
    assert mux.counters.undelivered == 5
    with pytest.raises(LimitExceeded, match="rc-slow has not confirmed 10 payloads"):
        mux.send_payload("n", 10, destination="slow")
    assert len(mux.servers[0].outbox) == 10
    # The other one does not notice.
    mux.source.add("A")
    mux.send_payload("n", "for all")
    await level(mux.source, quick)
    await until(lambda: taken.data == ["for all"])
    assert slow.net_mach.is_("A")


async def test_fault_32_a_client_that_was_away_too_long_costs_no_more_than_the_journal(
    world: World,
) -> None:
    mux = await world.serve(heartbeat=PATIENT, journal=JournalLimits(messages=16))
    client = await world.follow()
    world.network.partition(True)
    await until(lambda: client.mach.not_("Ready"))
    for _ in range(200):
        mux.source.toggle("A")
        mux.flush()
    (feed,) = mux._sources.feeds
    assert feed.full.head - feed.full.journal.oldest < 16
    assert feed.full.since(0) is None
    world.network.partition(False)
    await level(mux.source, client)


async def test_fault_32_a_slow_reader_of_payloads_keeps_no_more_than_it_asked_for(
    world: World,
) -> None:
    mux = await world.serve()
    client = await world.follow()
    payloads = client.payloads(limit=4)
    for n in range(50):
        mux.send_payload("n", n)
    await until(lambda: client.metrics()["payloads"] == 50)
    assert client.metrics()["payloads_dropped"] == 46
    assert [(await soon(anext(payloads))).data for _ in range(4)] == [46, 47, 48, 49]
    await payloads.aclose()


async def test_fault_32_what_is_called_while_away_is_bounded(world: World) -> None:
    await world.serve()
    client = await world.follow(offline_queue=2)
    world.network.partition(True)
    await until(lambda: client.mach.not_("Ready"))
    kept = [client.net_mach.add("Multi") for _ in range(2)]
    with pytest.raises(LimitExceeded):
        await client.net_mach.add("Multi")
    world.network.partition(False)
    assert [await soon(call) for call in kept] == [0, 0]
