"""Bytes of the same by gRPC, at the client's end of its connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from bench import traffic
from bench.bytes import ADD, CONNECT, LOOP
from bench.bytes_amzmq import Counted, counted
from bench.bytes_loop import Work
from bench.channel import PATIENCE_S, Channel
from bench.grpc_server import answering, dialed, method, serving, streaming
from bench.report import BenchError


async def play(channel: Channel, times: int, beats_s: float) -> None:
    """Do everything; there are no heartbeats of which to count."""
    work = Work()
    events: asyncio.Queue[bytes] = asyncio.Queue()

    async def call_op(request: bytes, _context: Any) -> bytes:
        work.call(request.decode())
        events.put_nowait(b"")
        return b""

    async def get_value(_request: bytes, _context: Any) -> bytes:
        return work.value.encode()

    async def add(_request: bytes, _context: Any) -> bytes:
        return b"\x00"

    async def subscribe(_request: bytes, _context: Any) -> AsyncIterator[bytes]:
        yield b""
        while True:
            yield await events.get()

    handlers = (
        answering("Add", add),
        answering("GetValue", get_value),
        answering("CallOp", call_op),
        streaming("Subscribe", subscribe),
    )
    operations: dict[str, Counted] = {}
    async with asyncio.timeout(PATIENCE_S - 2), serving(*handlers) as addr, dialed(addr) as remote:
        ports = {int(addr.rpartition(":")[2])}
        stream = remote.unary_stream(method("Subscribe"))(b"")
        await stream.read()
        sent, received = await traffic.settled(ports)
        operations[CONNECT] = {"sent": sent, "received": received}
        one = remote.unary_unary(method("Add"))
        operations[ADD] = await counted(ports, times, lambda: one(b"H"))
        get, call = remote.unary_unary(method("GetValue")), remote.unary_unary(method("CallOp"))

        async def once() -> None:
            await call(await get(b""))
            await stream.read()

        operations[LOOP] = await counted(ports, times, once)
        # The event, the value and the operation.
        operations[LOOP]["calls"] = 3.0
        stream.cancel()
    if (work.done, work.wrong) != (times, 0):
        raise BenchError(f"{LOOP}: of {times} operations {work.done} were right")
    channel.send(operations=operations)
    await channel.receive_async()
