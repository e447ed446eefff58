"""Blobs from a Mux to its clients."""

from __future__ import annotations

import asyncio
import datetime
import random
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from amzmq import Client, Mux
from amzmq.errors import DestinationUnknown, NotConnected, Refused
from amzmq.wire.types import register_dataclass
from tests.rpc.rig import World, machine, soon, until

DATA = random.Random(3).randbytes(3_000_000)


@register_dataclass(tag="test.wired")
@dataclass
class Order:
    when: datetime.datetime
    lines: list[str]


ORDER = Order(datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC), ["a", "b"])


async def test_everybody_can_fetch_a_blob_in_order_with_payloads(world: World) -> None:
    mux = await world.serve()
    clients = [await world.follow(name) for name in ("a", "b")]
    iterators = [client.blobs("model") for client in clients]
    offer = await mux.send_blob("model", DATA)
    for client, iterator in zip(clients, iterators, strict=True):
        blob = await soon(anext(iterator))
        assert (blob.name, blob.size, blob.source) == ("model", len(DATA), "src")
        assert await soon(blob.read()) == DATA
        await soon(offer.when_taken(client.mach.id))
    assert offer.taken == {"rc-a", "rc-b"}


async def test_one_client_alone_can_be_offered_a_blob(world: World, tmp_path: Path) -> None:
    mux = await world.serve()
    a, b = await world.follow("a"), await world.follow("b")
    for_a, for_b = a.blobs(), b.blobs()
    path = tmp_path / "source"
    path.write_bytes(DATA)
    offer = await mux.send_blob("model", path, destination="a")
    await soon((await soon(anext(for_a))).save(tmp_path / "target"))
    assert (tmp_path / "target").read_bytes() == DATA
    await soon(offer.when_taken("a"))
    with pytest.raises(DestinationUnknown):
        await mux.send_blob("model", DATA, destination="nobody")
    await b.stop()
    assert [blob async for blob in for_b] == []


async def test_a_transfer_survives_a_partition(world: World) -> None:
    mux = await world.serve()
    client = await world.follow("a")
    blobs = client.blobs()
    await mux.send_blob("model", DATA)
    blob = await soon(anext(blobs))
    got = await soon(anext(blob))
    world.network.partition(True)
    await until(lambda: client.mach.not_("Ready"))
    world.network.partition(False)
    async with asyncio.timeout(20):
        async for chunk in blob:
            got += chunk
    assert got == DATA


async def test_who_reads_when_either_side_stops_is_told(world: World) -> None:
    mux = await world.serve()
    client = await world.follow("a", conn_retries=1)
    blobs = client.blobs()
    offer = await mux.send_blob("model", DATA)
    blob = await soon(anext(blobs))
    await soon(anext(blob))
    offer.close("enough")
    with pytest.raises(Refused):
        async for _ in blob:
            pass
    await mux.send_blob("other", DATA)
    other = await soon(anext(blobs))
    await client.stop()
    with pytest.raises(NotConnected):
        await other.read()


async def test_blobs_and_registered_types_over_real_sockets() -> None:
    source = machine()
    async with AsyncExitStack() as stack:
        mux = await stack.enter_async_context(Mux(source))
        client = await stack.enter_async_context(Client(mux.addr, name="a"))
        blobs, orders = client.blobs(), client.payloads("order")
        mux.send_payload("order", ORDER)
        assert (await soon(anext(orders))).data == ORDER
        seen: list[object] = []
        source.bind({"MultiState": lambda e: seen.append(e.args["order"])})
        await soon(client.net_mach.add("Multi", order=ORDER))
        assert seen == [ORDER]
        data = b"all the same " * 300_000
        offer = await mux.send_blob("model", data)
        assert await soon((await soon(anext(blobs))).read()) == data
        await soon(offer.when_taken("a"))
        assert mux._blobs.counters.sent_bytes < len(data) / 10
