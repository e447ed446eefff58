"""Blobs through relays, and through trees of replicas that are served again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import pytest

from amzmq import Client, Mux
from amzmq.errors import DestinationUnknown, Refused
from amzmq.rpc.blobs.offer import Blob
from amzmq.rpc.relay.relay import Relay
from amzmq.rpc.server.rights import Policy
from tests.rpc.relay.test_relay import R1, R2, R3, Tree
from tests.rpc.rig import ADDR, machine, soon, until
from tests.rpc.test_processes import Host

CHUNK = 10_000
DATA = random.Random(4).randbytes(60 * CHUNK + 7)


@pytest.fixture
async def tree() -> AsyncIterator[Tree]:
    async with AsyncExitStack() as stack:
        yield Tree(stack)


async def rest_of(blob: Blob) -> bytes:
    return b"".join([chunk async for chunk in blob])


async def test_a_blob_comes_through_one_relay_and_through_two(tree: Tree, tmp_path: Path) -> None:
    mux = await tree.serve()
    await tree.relayed(R1)
    await tree.relayed(R2, R1)
    clients = [await tree.follow(addr=addr) for addr in (ADDR, R1, R2)]
    iterators = [client.blobs("model") for client in clients]
    offer = await mux.send_blob("model", DATA, chunk_size=CHUNK)
    for at, iterator in enumerate(iterators):
        blob = await soon(anext(iterator))
        assert (blob.size, blob.source, blob.token) == (len(DATA), "src", offer.token)
        await soon(blob.save(tmp_path / str(at)))
        assert (tmp_path / str(at)).read_bytes() == DATA
    await soon(offer.when_taken("r1"))
    assert offer.taken == {clients[0].mach.id, "rc-r1"}
    assert offer.progress["rc-r1"] == len(DATA)


async def test_many_followers_of_a_relay_cost_the_source_one_fetch(tree: Tree) -> None:
    mux = await tree.serve()
    relay = await tree.relayed(R1)
    iterators = [(await tree.follow(addr=R1)).blobs() for _ in range(6)]
    await mux.send_blob("model", DATA, chunk_size=CHUNK)
    blobs = [await soon(anext(iterator)) for iterator in iterators]
    assert await soon(asyncio.gather(*(blob.read() for blob in blobs))) == [DATA] * 6
    assert mux._blobs.counters.chunks == 61
    assert relay.metrics()["upstream_blob_chunks_out"] == 6 * 61


async def test_followers_of_a_part_of_a_machine_get_blobs_too(tree: Tree) -> None:
    mux = await tree.serve()
    await tree.relayed(R1)
    client = await tree.follow(addr=R1, allowed_states=["A"])
    blobs, payloads = client.blobs(), client.payloads()
    await mux.send_blob("model", DATA, chunk_size=CHUNK)
    mux.send_payload("after", 1)
    assert (await soon(anext(payloads))).name == "after"
    assert await soon((await soon(anext(blobs))).read()) == DATA


async def test_a_blob_that_no_follower_wants_is_counted_once_each(tree: Tree) -> None:
    mux = await tree.serve(heartbeat=0.02)
    relay = await tree.relayed(R1, heartbeat=0.02)
    wants = (await tree.follow("wants", addr=R1)).blobs()
    useless = [await tree.follow(name, addr=R1) for name in ("x", "y")]
    await mux.send_blob("model", DATA, chunk_size=CHUNK)
    assert await soon((await soon(anext(wants))).read()) == DATA
    assert [client.deliveries.failed for client in useless] == [1, 1]
    await until(lambda: mux.metrics()["payloads_failed"] == 2)
    assert relay.clients["src"].deliveries.failed == 2


async def test_a_transfer_goes_on_at_another_relay_and_at_the_source(tree: Tree) -> None:
    mux = await tree.serve()
    one, two = await tree.relayed(R1), await tree.relayed(R2)
    client = await tree.follow(addr=[R1, R2, ADDR])
    blobs = client.blobs()
    offer = await mux.send_blob("model", DATA, chunk_size=CHUNK)
    blob = await soon(anext(blobs))
    got = await soon(anext(blob))
    for relay, after in ((one, R2), (two, ADDR)):
        await relay.stop()
        await until(lambda after=after: client.addr == after and client.mach.is_("Ready"))
        for _ in range(12):
            got += await soon(anext(blob))
    assert got + await soon(rest_of(blob)) == DATA
    await soon(offer.when_taken(client.mach.id))


async def test_a_relay_that_began_after_the_offer_hands_on_the_rest(tree: Tree) -> None:
    mux = await tree.serve()
    one = await tree.relayed(R1)
    client = await tree.follow(addr=[R1, R2])
    blobs = client.blobs()
    await mux.send_blob("model", DATA, chunk_size=CHUNK)
    blob = await soon(anext(blobs))
    got = await soon(anext(blob))
    await tree.relayed(R2)
    await one.stop()
    assert got + await soon(rest_of(blob)) == DATA


async def test_a_relay_that_changes_its_upstream_goes_on_for_its_followers(tree: Tree) -> None:
    mux = await tree.serve()
    one = await tree.relayed(R1)
    await tree.relayed(R2)
    await tree.relayed(R3, [R1, R2])
    client = await tree.follow(addr=R3)
    blobs = client.blobs()
    await mux.send_blob("model", DATA, chunk_size=CHUNK)
    blob = await soon(anext(blobs))
    got = await soon(anext(blob))
    await one.stop()
    assert got + await soon(rest_of(blob)) == DATA
    assert client.mach.is_("Ready")


async def test_what_the_source_offers_no_longer_is_refused_in_its_words(tree: Tree) -> None:
    mux = await tree.serve()
    await tree.relayed(R1)
    await tree.relayed(R2, R1)
    client = await tree.follow(addr=R2)
    blobs = client.blobs()
    offer = await mux.send_blob("model", DATA, chunk_size=CHUNK)
    blob = await soon(anext(blobs))
    await soon(anext(blob))
    await until(lambda: not blob.reader.in_flight)
    offer._used_at -= 1000.0
    offer._look()
    assert offer.expired
    with pytest.raises(Refused, match="no such blob is offered, or no longer"):
        await soon(rest_of(blob))


async def test_a_relay_that_may_not_have_payloads_hands_on_that_it_may_not(tree: Tree) -> None:
    policy = Policy({"edge": {"payload": False, "read": True}, "all": {}})
    mux = await tree.serve(rights=policy)
    transport, above = tree.network.transport(), partial(tree.network.transport, "edge")
    relay = Relay(ADDR, R1, name="r1", transport=transport, new_transport=above)
    tree._stack.push_async_callback(relay.stop)
    await soon(relay.start())
    client = await tree.follow(addr=R1)
    offer = await mux.send_blob("model", DATA, chunk_size=CHUNK)
    blob = client.fetcher.offer("model", offer.token, offer.facts)
    with pytest.raises(Refused, match="edge may not receive payloads"):
        await soon(blob.read())


async def test_one_client_alone_is_offered_a_blob_by_the_node_it_is_connected_to(
    tree: Tree,
) -> None:
    mux = await tree.serve()
    relay = await tree.relayed(R1)
    client = await tree.follow("leaf", addr=R1)
    blobs = client.blobs()
    with pytest.raises(DestinationUnknown):
        await mux.send_blob("model", DATA, "leaf")
    offer = await relay.mux.send_blob("model", DATA, "leaf", chunk_size=CHUNK)
    assert await soon((await soon(anext(blobs))).read()) == DATA
    await soon(offer.when_taken("leaf"))


async def test_a_tree_of_replicas_hands_blobs_on_and_reads_them_itself(tree: Tree) -> None:
    root = await tree.serve()
    middle = await tree.follow("middle")
    between = await tree.serve(middle.net_mach, bind=R1)
    low = await tree.follow("low", addr=R1)
    await tree.serve(low.net_mach, bind=R2)
    leaf = await tree.follow("leaf", addr=R2)
    clients = [middle, low, leaf]
    iterators = [client.blobs() for client in clients]
    offer = await root.send_blob("model", DATA, chunk_size=CHUNK)
    blobs = [await soon(anext(iterator)) for iterator in iterators]
    first = await soon(anext(blobs[0]))
    rest, *others = await soon(asyncio.gather(*map(rest_of, blobs)))
    assert [first + rest, *others] == [DATA] * 3
    await soon(offer.when_taken("middle"))
    assert sum(client.fetcher.counters.stalls for client in clients) == 0
    # One that is offered between is fetched from there.
    await between.send_blob("other", DATA[::-1], chunk_size=CHUNK)
    assert await soon((await soon(anext(iterators[2]))).read()) == DATA[::-1]
    assert root._blobs.counters.refused == 0


async def test_a_node_that_stops_following_says_so_to_who_reads_below(tree: Tree) -> None:
    root = await tree.serve()
    middle = await tree.follow("middle")
    await tree.serve(middle.net_mach, bind=R1)
    leaf = await tree.follow("leaf", addr=R1)
    blobs = leaf.blobs()
    await root.send_blob("model", DATA, chunk_size=CHUNK)
    blob = await soon(anext(blobs))
    await soon(anext(blob))
    await middle.stop()
    with pytest.raises(Refused, match="the client was stopped"):
        await soon(rest_of(blob))


async def test_blobs_through_two_relays_over_real_sockets(tmp_path: Path) -> None:
    path = tmp_path / "source"
    path.write_bytes(DATA * 10)
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        mux = await enter(Mux(machine()))
        one, two = await enter(Relay(mux.addr)), await enter(Relay(mux.addr))
        low = await enter(Relay([one.addr, two.addr], conn_timeout=0.5))
        clients = [await enter(Client(low.addr)) for _ in range(3)]
        iterators = [client.blobs("model") for client in clients]
        offer = await mux.send_blob("model", path, chunk_size=50_000)
        blobs = [await soon(anext(iterator)) for iterator in iterators]
        got = [await soon(anext(blob)) for blob in blobs]
        await one.stop()
        rests = await soon(asyncio.gather(*map(rest_of, blobs)))
        assert [a + b for a, b in zip(got, rests, strict=True)] == [DATA * 10] * 3
        await soon(offer.when_taken(two.name))
        offer.close()


async def test_a_relay_killed_in_the_middle_of_a_transfer_costs_no_byte() -> None:
    async with AsyncExitStack() as stack:
        mux = await stack.enter_async_context(Mux(machine()))
        host = Host(stack)
        names = ("one", "two")
        relays = [await host.run("relay", name=name, upstream=[mux.addr]) for name in names]
        addrs = [relay.hello["addr"] for relay in relays]
        client = Client(addrs, conn_timeout=0.5, conn_retry_delay=0.01)
        await stack.enter_async_context(client)
        blobs = client.blobs("model")
        offer = await mux.send_blob("model", DATA, chunk_size=CHUNK)
        blob = await soon(anext(blobs))
        got = await soon(anext(blob))
        await relays[0].kill()
        assert got + await soon(rest_of(blob)) == DATA
        assert client.addr == addrs[1]
        await soon(offer.when_taken("two"))
        assert offer.taken == {"rc-two"}
        offer.close()
