"""A call by gRPC: grpc.aio on both sides, messages as bytes."""

from __future__ import annotations

from bench.channel import Channel
from bench.grpc_server import answering, dialed, method, serving
from bench.latency import RateWatch, in_flight, one_by_one, report_latencies


async def source(channel: Channel, reply_bytes: int) -> None:
    """Answers every request until told to stop."""
    reply, answered = bytes(reply_bytes), 0

    async def answer(_request: bytes, _context: object) -> bytes:
        nonlocal answered
        answered += 1
        return reply

    async with serving(answering("Add", answer)) as addr:
        channel.send(addr=addr)
        await channel.receive_async()
        channel.send(state=[answered])
        await channel.receive_async()


async def client(channel: Channel, calls: int, warm_up: int, request_bytes: int) -> None:
    """Asks one after the other."""
    request = bytes(request_bytes)
    async with dialed((await channel.receive_async())["addr"]) as remote:
        add = remote.unary_unary(method("Add"))
        await one_by_one(lambda: add(request), warm_up)
        latencies = await one_by_one(lambda: add(request), calls)
        report_latencies(channel, latencies, states=[[warm_up + calls]])
        await channel.receive_async()


async def pipelined(
    channel: Channel, calls: int, warm_up: int, request_bytes: int, window: int
) -> None:
    """Keeps so many calls in flight."""
    request = bytes(request_bytes)
    async with dialed((await channel.receive_async())["addr"]) as remote:
        add = remote.unary_unary(method("Add"))
        await in_flight(lambda: add(request), warm_up, window)
        watch = RateWatch()
        await in_flight(lambda: add(request), calls, window)
        watch.report(channel, calls, states=[[warm_up + calls]])
        await channel.receive_async()
