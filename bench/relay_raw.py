"""The limit of a relay: frames handed from an XSUB to an XPUB, in Python and not looked at."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import zmq

from bench.channel import PATIENCE_S, Channel
from bench.fanout_raw import BUDGET, NOBLOCK

POLLIN = int(zmq.POLLIN)
# How soon a loop that hears nothing looks whether it is to end.
LOOK_MS = 100


class Ends(NamedTuple):
    """The two sockets of a hop."""

    upper: zmq.Socket[bytes]
    lower: zmq.Socket[bytes]


def hop(channel: Channel, hwm: int, name: str) -> None:
    """Receive and send in a plain loop, one way: the least there is."""
    with _ends(channel, hwm) as (upper, lower):
        receive, send = upper.recv, lower.send
        while not channel.has_news():
            try:
                while True:
                    send(receive())
            except zmq.Again:
                continue


def hop_both_ways(channel: Channel, hwm: int, name: str) -> None:
    """The same as `zmq.proxy` does it: subscriptions go up meanwhile."""
    with _ends(channel, hwm) as (upper, lower):
        poller = zmq.Poller()
        poller.register(upper, POLLIN)
        poller.register(lower, POLLIN)
        while not channel.has_news():
            for readable, _ in poller.poll(LOOK_MS):
                _drain(readable, upper if readable is lower else lower)


async def hop_asyncio(channel: Channel, hwm: int, name: str) -> None:
    """The same on an event loop, drained from the socket's descriptor."""
    with _ends(channel, hwm) as (upper, lower):
        loop, fd = asyncio.get_running_loop(), int(upper.getsockopt(zmq.FD))

        def drain() -> None:
            if not upper.closed and _drain(upper, lower):
                loop.call_soon(drain)

        loop.add_reader(fd, drain)
        loop.call_soon(drain)
        try:
            await channel.receive_async()
        finally:
            loop.remove_reader(fd)


def _drain(source: zmq.Socket[bytes], target: zmq.Socket[bytes]) -> bool:
    """Hand on what is there; whether there may be more."""
    receive, send = source.recv, target.send
    try:
        for _ in range(BUDGET):
            send(receive(NOBLOCK))
    except zmq.Again:
        return False
    return True


@contextmanager
def _ends(channel: Channel, hwm: int) -> Iterator[Ends]:
    """Both sockets, once the subscription of whoever is below has gone up."""
    addr = channel.receive()["addr"]
    with zmq.Context() as context, context.socket(zmq.XSUB) as upper:
        with context.socket(zmq.XPUB) as lower:
            upper.setsockopt(zmq.RCVHWM, hwm)
            lower.setsockopt(zmq.SNDHWM, hwm)
            for sock in (upper, lower):
                sock.setsockopt(zmq.LINGER, 0)
            upper.setsockopt(zmq.RCVTIMEO, LOOK_MS)
            lower.setsockopt(zmq.RCVTIMEO, int(PATIENCE_S * 1000))
            upper.connect(addr)
            channel.send(addr=f"tcp://127.0.0.1:{lower.bind_to_random_port('tcp://127.0.0.1')}")
            upper.send(lower.recv())
            yield Ends(upper, lower)
