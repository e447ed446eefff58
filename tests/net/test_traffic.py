"""A meter counts what goes through it, and does to it what it is told."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator

import pytest

from amzmq.errors import AddressInUse, AddressInvalid, NetError
from amzmq.machine import Machine, State
from amzmq.net import ZmqTransport
from amzmq.net.traffic import Direction, TrafficMeter
from amzmq.rpc import Client, Mux

from .conftest import PATIENCE_S, QUICK, until

ENDED = (ConnectionResetError, BrokenPipeError)


class Far:
    """A server that keeps what it is sent, connection by connection, and answers when told."""

    def __init__(self) -> None:
        self.ends: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self.server: asyncio.Server | None = None

    async def listen(self) -> None:
        self.server = await asyncio.start_server(
            lambda reader, writer: self.ends.append((reader, writer)), "127.0.0.1", 0
        )

    @property
    def addr(self) -> str:
        assert self.server is not None
        host, port = self.server.sockets[0].getsockname()
        return f"tcp://{host}:{port}"

    async def close(self) -> None:
        assert self.server is not None
        self.server.close()
        for _, writer in self.ends:
            writer.transport.abort()
        await self.server.wait_closed()


class Near:
    """Connects through a meter, and closes everything at the end of the test."""

    def __init__(self, far: Far, meter: TrafficMeter) -> None:
        self.far = far
        self.meter = meter
        self.writers: list[asyncio.StreamWriter] = []

    async def dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection, not looked for at the other end."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(self.meter.addr))
        self.writers.append(writer)
        return reader, writer

    async def connect(self) -> tuple[End, End]:
        """Both ends of a new connection."""
        known = len(self.far.ends)
        near = await self.dial()
        await until(lambda: len(self.far.ends) > known)
        return End(*near), End(*self.far.ends[-1])


class End:
    """One end of a connection, with the patience of a test."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def receive(self, count: int) -> bytes:
        async with asyncio.timeout(PATIENCE_S):
            return await self.reader.readexactly(count)

    async def rest(self) -> bytes:
        async with asyncio.timeout(PATIENCE_S):
            return await self.reader.read()

    async def silent(self) -> bool:
        """Whether nothing comes for a moment."""
        try:
            async with asyncio.timeout(0.05):
                return not await self.reader.read(1)
        except TimeoutError:
            return True


def port_of(addr: str) -> int:
    return int(addr.rpartition(":")[2])


@pytest.fixture
async def near() -> AsyncIterator[Near]:
    far = Far()
    await far.listen()
    async with TrafficMeter(far.addr) as meter:
        made = Near(far, meter)
        yield made
        for writer in made.writers:
            writer.transport.abort()
    await far.close()


# Counting.


async def test_bytes_arrive_as_they_were_sent_and_are_counted_each_way(near: Near) -> None:
    client, server = await near.connect()
    client.send(b"question")
    assert await server.receive(8) == b"question"
    server.send(b"answer")
    assert await client.receive(6) == b"answer"
    assert (near.meter.sent, near.meter.received) == (8, 6)


async def test_any_number_of_connections_goes_through_one_meter(near: Near) -> None:
    pairs = [await near.connect() for _ in range(5)]
    for at, (client, server) in enumerate(pairs):
        client.send(b"%d" % at)
        assert await server.receive(1) == b"%d" % at
    assert (near.meter.connections, near.meter.open, near.meter.sent) == (5, 5, 5)
    pairs[0][0].writer.close()
    pairs[0][1].writer.close()
    await until(lambda: near.meter.open == 4)
    assert near.meter.connections == 5


async def test_much_more_than_is_held_arrives_whole(near: Near) -> None:
    client, server = await near.connect()
    data = bytes(range(256)) * 40_000  # 10 MB
    client.send(data)
    assert await server.receive(len(data)) == data
    assert near.meter.sent == len(data)


async def test_an_end_that_has_said_all_still_hears_the_other(near: Near) -> None:
    client, server = await near.connect()
    client.send(b"all")
    client.writer.write_eof()
    assert await server.rest() == b"all"
    server.send(b"heard")
    server.writer.write_eof()
    assert await client.rest() == b"heard"
    await until(lambda: near.meter.open == 0)
    assert near.meter.lost == 0


async def test_a_reset_of_one_end_is_a_reset_of_the_other(near: Near) -> None:
    client, server = await near.connect()
    no_time = struct.pack("ii", 1, 0)
    server.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_time)
    server.writer.transport.abort()
    with pytest.raises(ENDED):
        await client.rest()


# Faults.


async def test_a_black_hole_lets_nothing_through_and_gives_it_back_later(near: Near) -> None:
    client, server = await near.connect()
    near.meter.pause()
    client.send(b"lost?")
    server.send(b"no")
    assert await server.silent()
    assert await client.silent()
    assert (near.meter.sent, near.meter.received) == (0, 0)
    near.meter.resume()
    assert await server.receive(5) == b"lost?"
    assert await client.receive(2) == b"no"


@pytest.mark.parametrize("closed", [Direction.SENT, Direction.RECEIVED])
async def test_a_black_hole_may_be_of_one_direction(near: Near, closed: Direction) -> None:
    client, server = await near.connect()
    talks, hears = (client, server) if closed is Direction.SENT else (server, client)
    near.meter.pause(closed)
    hears.send(b"through")
    assert await talks.receive(7) == b"through"
    talks.send(b"stuck")
    assert await hears.silent()
    near.meter.resume(closed)
    assert await hears.receive(5) == b"stuck"


async def test_a_black_hole_swallows_the_end_of_a_connection_too(near: Near) -> None:
    client, server = await near.connect()
    near.meter.pause()
    client.writer.close()
    assert await server.silent()
    assert not server.reader.at_eof()
    near.meter.resume()
    assert await server.rest() == b""


async def test_a_delay_makes_bytes_late_and_does_not_add_up(near: Near) -> None:
    client, server = await near.connect()
    near.meter.delay = 0.1
    loop = asyncio.get_running_loop()
    began = loop.time()
    for at in range(20):
        client.send(b"%2d" % at)
        await asyncio.sleep(0.001)
    assert await server.receive(40) == b"".join(b"%2d" % at for at in range(20))
    assert near.meter.delay <= loop.time() - began < 20 * near.meter.delay


async def test_a_bandwidth_is_shared_by_all_connections(near: Near) -> None:
    pairs = [await near.connect() for _ in range(2)]
    near.meter.bandwidth = 100_000
    loop = asyncio.get_running_loop()
    began = loop.time()
    for client, _ in pairs:
        client.send(bytes(10_000))
    for _, server in pairs:
        await server.receive(10_000)
    # The last slice is on its way for a moment, and its end is the end of the wait.
    assert loop.time() - began >= 0.99 * 20_000 / 100_000


async def test_a_bandwidth_may_be_lifted_while_bytes_wait_for_it(near: Near) -> None:
    client, server = await near.connect()
    near.meter.bandwidth = 10_000
    client.send(bytes(1_000_000))
    await server.receive(1)
    near.meter.bandwidth = 0
    await server.receive(999_999)


async def test_a_reset_ends_all_connections_by_an_error_at_both_ends(near: Near) -> None:
    pairs = [await near.connect() for _ in range(3)]
    assert near.meter.reset() == 3
    for client, server in pairs:
        with pytest.raises(ENDED):
            await client.rest()
        with pytest.raises(ENDED):
            await server.rest()
    assert near.meter.open == 0


async def test_a_cut_ends_all_connections_by_an_end_of_file_at_both_ends(near: Near) -> None:
    pairs = [await near.connect() for _ in range(3)]
    assert near.meter.cut() == 3
    for client, server in pairs:
        assert await client.rest() == b""
        assert await server.rest() == b""


async def test_after_a_reset_or_a_cut_new_connections_are_welcome(near: Near) -> None:
    await near.connect()
    near.meter.reset()
    await near.connect()
    near.meter.cut()
    client, server = await near.connect()
    client.send(b"x")
    assert await server.receive(1) == b"x"


async def test_what_was_read_and_not_passed_on_is_counted_as_lost(near: Near) -> None:
    client, _ = await near.connect()
    near.meter.delay = PATIENCE_S
    client.send(b"gone!")
    links = near.meter._links.values()
    await until(lambda: sum(flow.held for link in links for flow in link._flows) == 5)
    near.meter.cut()
    await until(lambda: near.meter.open == 0)
    assert (near.meter.sent, near.meter.lost) == (0, 5)


async def test_a_connection_may_be_ended_before_it_reached_its_target(near: Near) -> None:
    client = End(*await near.dial())
    await until(lambda: near.meter.connections == 1)
    near.meter.reset()
    with pytest.raises(ENDED):
        await client.rest()
    await until(lambda: near.meter.open == 0)


async def test_refusing_resets_who_comes_and_leaves_who_is_there(near: Near) -> None:
    client, server = await near.connect()
    near.meter.refusing = True
    late = End(*await near.dial())
    with pytest.raises(ENDED):
        await late.rest()
    client.send(b"still")
    assert await server.receive(5) == b"still"
    assert (near.meter.connections, near.meter.refused) == (1, 1)
    near.meter.refusing = False
    await near.connect()


async def test_nobody_at_the_target_is_a_reset_and_counted() -> None:
    far = Far()
    await far.listen()
    addr = far.addr
    await far.close()
    async with TrafficMeter(addr) as meter:
        near = Near(far, meter)
        client = End(*await near.dial())
        with pytest.raises(ENDED):
            await client.rest()
        assert meter.refused == 1
        client.writer.transport.abort()


# Life.


async def test_a_meter_ends_with_whatever_is_underway(near: Near) -> None:
    stuck, _ = await near.connect()
    stuck.send(bytes(20_000_000))  # nobody reads it there
    near.meter.pause(Direction.RECEIVED)
    await near.connect()
    async with asyncio.timeout(PATIENCE_S):
        await near.meter.close()
    assert near.meter.open == 0
    with pytest.raises(NetError, match="async with"):
        assert near.meter.addr


async def test_addresses_that_cannot_be_are_refused_by_name() -> None:
    for wrong in ("ipc:///tmp/a", "127.0.0.1:70", "tcp://127.0.0.1:0", "tcp://127.0.0.1:65536"):
        with pytest.raises(AddressInvalid, match=wrong):
            TrafficMeter(wrong)
    with pytest.raises(AddressInvalid, match="tcp://host"):
        TrafficMeter("tcp://127.0.0.1:70", bind="tcp://host")


async def test_an_address_in_use_is_said(near: Near) -> None:
    with pytest.raises(AddressInUse, match=near.far.addr):
        await TrafficMeter(near.far.addr, bind=near.far.addr).start()
    with pytest.raises(AddressInvalid, match="192.0.2.1"):
        await TrafficMeter(near.far.addr, bind="tcp://192.0.2.1:0").start()
    with pytest.raises(NetError, match="already"):
        await near.meter.start()


# What it is for.


async def test_a_follower_behind_two_meters_heals_from_a_reset_of_both() -> None:
    source = Machine({"A": State(multi=True)}, id="source")
    async with Mux(source, transport=ZmqTransport(QUICK), heartbeat=0.2) as mux:
        feed = f"tcp://127.0.0.2:{port_of(mux.feed_addr)}"
        async with (
            TrafficMeter(mux.addr, bind="tcp://127.0.0.2:0") as calls,
            TrafficMeter(mux.feed_addr, bind=feed) as updates,
            Client(calls.addr, transport=ZmqTransport(QUICK), conn_retry_delay=0.01) as client,
        ):
            net = client.net_mach
            await net.add("A")
            before = calls.sent, updates.received
            assert min(before) > 0
            assert calls.reset() + updates.reset() == 2
            source.add("A")
            await until(lambda: net.tick("A") == source.tick("A"))
            async with asyncio.timeout(PATIENCE_S):
                await client.mach.when("Ready")
                await net.add("A")
            assert net.tick("A") == source.tick("A") == 5
            assert calls.sent > before[0]
            assert min(calls.connections, updates.connections) >= 2
