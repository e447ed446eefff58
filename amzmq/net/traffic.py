"""A meter between two ends of TCP connections: it counts bytes, and does to them what it is told.

A client connects to the meter instead of to the target. Faults are switched on while it runs, for
the connections that are there and for those to come; each says what it does to them. Bytes are
never changed, reordered or left out within a connection: that is what TCP promises, so a fault
delays them or ends the connection.

A source that is followed has two sockets. A follower looks for the feed at the host it connected
to, on the feed's own port: a second meter, on another host of the loopback, measures it.

    TrafficMeter(mux.addr, bind="tcp://127.0.0.2:0")
    TrafficMeter(mux.feed_addr, bind="tcp://127.0.0.2:7702")     # the port of mux.feed_addr
"""

from __future__ import annotations

import asyncio
import enum
import errno
import re
import socket
import struct
from collections import deque
from collections.abc import Callable
from types import TracebackType

from amzmq.errors import AddressInUse, AddressInvalid, NetError
from amzmq.net.log import log

_End = Callable[[asyncio.StreamWriter], None]

CHUNK_BYTES = 64 * 1024
"""Read at most at once."""

HELD_BYTES = 4 * 1024 * 1024
"""Bytes on their way, of one direction of a connection, before no more are read."""

SLICES_PER_S = 50
"""How finely a limited bandwidth is divided between connections."""

_TCP = re.compile(r"^tcp://(\[[^\]]+\]|[^:/\s]+):(\d{1,5})$")
_RST = struct.pack("ii", 1, 0)
"""SO_LINGER of no time: closing sends RST."""


class Direction(enum.Flag):
    """Which way bytes go, seen from the client."""

    SENT = enum.auto()
    RECEIVED = enum.auto()
    BOTH = SENT | RECEIVED


class TrafficMeter:
    """A TCP proxy for any number of connections (spec rpc 1.9, TrafficMeter).

    Args:
        target_addr: Where connections go on to, ``tcp://host:port``.
        bind: Where the meter listens; port 0 takes a free one.

    Attributes:
        delay: Seconds by which every byte is late, each way; 0 for none.
        bandwidth: Bytes a second, each way, that all connections share; 0 for no limit.
        refusing: Whether new connections are reset at once.
        sent, received: Bytes passed on to the target, and from it.
        lost: Bytes that were read and not passed on, as their connection had ended.
        connections: Made so far.
        refused: Those not let through: `refusing`, or nobody at the target.

    Raises:
        AddressInvalid: One of the addresses is not ``tcp://host:port``.

    >>> async def measure(target_addr: str) -> int:
    ...     async with TrafficMeter(target_addr) as meter:
    ...         _, writer = await asyncio.open_connection("127.0.0.1", int(meter.addr[16:]))
    ...         writer.close()
    ...         return meter.sent + meter.received
    """

    def __init__(self, target_addr: str, bind: str = "tcp://127.0.0.1:0") -> None:
        self.delay = 0.0
        self.bandwidth = 0.0
        self.refusing = False
        self.sent = 0
        self.received = 0
        self.lost = 0
        self.connections = 0
        self.refused = 0
        self._target_addr = target_addr
        self._target = _host_and_port(target_addr, lowest=1)
        self._bind_addr = bind
        self._bind = _host_and_port(bind, lowest=0)
        self._ways = {one: _Way() for one in (Direction.SENT, Direction.RECEIVED)}
        self._links: dict[asyncio.Task[None], _Link] = {}
        self._server: asyncio.Server | None = None

    # Life.

    async def start(self) -> None:
        """Listen.

        Raises:
            AddressInUse: Somebody else listens there.
            AddressInvalid: It cannot be bound at all.
        """
        if self._server is not None:
            raise NetError(f"the meter listens at {self.addr} already; make another one")
        try:
            self._server = await asyncio.start_server(self._accept, *self._bind)
        except OSError as error:
            raise _bind_error(self._bind_addr, error) from None

    async def close(self) -> None:
        """Stop listening and end all connections."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        self.cut()
        while self._links:
            await asyncio.wait(list(self._links))
        await server.wait_closed()

    async def __aenter__(self) -> TrafficMeter:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    # What can be seen.

    @property
    def addr(self) -> str:
        """Where clients connect to, with port 0 resolved.

        Raises:
            NetError: It does not listen.
        """
        if self._server is None:
            raise NetError(
                f"the meter of {self._target_addr} does not listen; enter it by 'async with'"
            )
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"

    @property
    def open(self) -> int:
        """Connections at this moment."""
        return len(self._links)

    # Faults.

    def pause(self, direction: Direction = Direction.BOTH) -> None:
        """A black hole: nothing arrives any more, and nobody is told, until `resume`.

        What was sent before and meanwhile arrives then, as over a network that came back.
        """
        for one in direction:
            self._ways[one].passable.clear()

    def resume(self, direction: Direction = Direction.BOTH) -> None:
        """Undo a `pause`."""
        for one in direction:
            self._ways[one].passable.set()

    def reset(self) -> int:
        """End all connections by RST, as a crash or a firewall does; how many there were."""
        return self._end_all(_reset)

    def cut(self) -> int:
        """End all connections by FIN, mid-stream; how many there were."""
        return self._end_all(_cut)

    def _end_all(self, way: _End) -> int:
        links = list(self._links.values())
        for link in links:
            link.end(way)
        return len(links)

    # Connections.

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refusing or self._server is None:
            self.refused += 1
            _reset(writer)
            return
        self.connections += 1
        link = _Link(self, reader, writer)
        task = asyncio.create_task(link.run(), name=f"meter {self._target_addr}")
        self._links[task] = link
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._links[task]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("meter of %s: a connection failed", self._target_addr, exc_info=error)


class _Way:
    """What one direction of all connections has in common.

    Attributes:
        passable: Cleared by `pause`.
    """

    def __init__(self) -> None:
        self.passable = asyncio.Event()
        self.passable.set()
        self._free_at = 0.0

    async def take(self, count: int, bandwidth: float) -> None:
        """Wait until `count` further bytes are within the bandwidth."""
        now = asyncio.get_running_loop().time()
        begin = max(now, self._free_at)
        self._free_at = begin + count / bandwidth
        await asyncio.sleep(self._free_at - now)


class _Link:
    """One connection, from its client through the meter to the target."""

    def __init__(
        self, meter: TrafficMeter, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._meter = meter
        self._reader = reader
        self._writers = [writer]
        self._flows: list[_Flow] = []
        self._end: _End | None = None
        self._ended = asyncio.Event()

    def end(self, way: _End) -> None:
        """End it now, whatever it waits for."""
        self._end = self._end or way
        self._ended.set()

    async def run(self) -> None:
        """Carry both ways until both have ended."""
        try:
            async with asyncio.TaskGroup() as group:
                watch = group.create_task(self._until_ended())
                await self._carry()
                watch.cancel()
        except* OSError as errors:
            if self._end is None:
                log.info("meter of %s: %s", self._meter._target_addr, errors.exceptions[0])
                self._meter.refused += not self._flows
        finally:
            self._meter.lost += sum(flow.held for flow in self._flows)
            for writer in self._writers:
                # What ended one side by an error is passed on to the other.
                (self._end or _reset)(writer)
            closed = (writer.wait_closed() for writer in self._writers)
            await asyncio.gather(*closed, return_exceptions=True)  # how it ended is known

    async def _until_ended(self) -> None:
        await self._ended.wait()
        raise ConnectionAbortedError("ended by the meter")

    async def _carry(self) -> None:
        meter = self._meter
        reader, writer = await asyncio.open_connection(*meter._target)
        self._writers.append(writer)
        self._flows = [
            _Flow(meter, Direction.SENT, self._reader, writer),
            _Flow(meter, Direction.RECEIVED, reader, self._writers[0]),
        ]
        async with asyncio.TaskGroup() as group:
            for flow in self._flows:
                group.create_task(flow.read())
                group.create_task(flow.write())
        for writer in self._writers:
            writer.close()
            await writer.wait_closed()


class _Flow:
    """One direction of one connection: read, kept for as long as it is delayed, written.

    Attributes:
        held: Bytes on their way.
    """

    def __init__(
        self,
        meter: TrafficMeter,
        direction: Direction,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.held = 0
        self._meter = meter
        self._direction = direction
        self._way = meter._ways[direction]
        self._reader = reader
        self._writer = writer
        self._loop = asyncio.get_running_loop()
        self._chunks: deque[tuple[float, bytes]] = deque()
        # Of both loops: one waits while nothing is held, the other while too much is.
        self._changed = asyncio.Event()

    async def read(self) -> None:
        """Read to the end, which is kept as an empty chunk."""
        while True:
            await self._way.passable.wait()
            data = await self._reader.read(CHUNK_BYTES)
            self._chunks.append((self._loop.time() + self._meter.delay, data))
            self.held += len(data)
            self._changed.set()
            if not data:
                return
            while self.held >= HELD_BYTES:
                self._changed.clear()
                await self._changed.wait()

    async def write(self) -> None:
        """Pass on what was read, when it is due."""
        while True:
            while not self._chunks:
                self._changed.clear()
                await self._changed.wait()
            due, data = self._chunks.popleft()
            if (early := due - self._loop.time()) > 0:
                await asyncio.sleep(early)
            await self._way.passable.wait()
            if not data:
                self._writer.write_eof()
                return
            await self._pass_on(data)
            self._changed.set()

    async def _pass_on(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            bandwidth = self._meter.bandwidth
            count = max(1, int(bandwidth / SLICES_PER_S)) if bandwidth > 0 else len(rest)
            part, rest = rest[:count], rest[count:]
            if bandwidth > 0:
                await self._way.take(len(part), bandwidth)
            await self._way.passable.wait()
            self._writer.write(part)
            self._count(len(part))
            await self._writer.drain()

    def _count(self, count: int) -> None:
        self.held -= count
        if self._direction is Direction.SENT:
            self._meter.sent += count
        else:
            self._meter.received += count


def _cut(writer: asyncio.StreamWriter) -> None:
    """Close by FIN, without what is still to be written."""
    writer.transport.abort()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close by RST."""
    sock = writer.get_extra_info("socket")
    if sock.fileno() >= 0:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST)
    writer.transport.abort()


def _host_and_port(address: str, lowest: int) -> tuple[str, int]:
    found = _TCP.match(address)
    if found is None:
        raise AddressInvalid(address, "a meter carries tcp only")
    if not lowest <= int(found[2]) <= 65535:
        raise AddressInvalid(address, f"a port here is between {lowest} and 65535")
    return found[1].strip("[]"), int(found[2])


def _bind_error(address: str, error: OSError) -> NetError:
    if error.errno == errno.EADDRINUSE:
        return AddressInUse(address)
    return AddressInvalid(address, error.strerror or str(error))
