"""Waiting until an address is free again.

libzmq closes a listener on its own thread, some time after the socket that it belonged to. Who
binds the address again right away may come too early, unless somebody has waited.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING

import zmq

from amzmq.net.log import log

if TYPE_CHECKING:
    ZmqRaw = zmq.Socket[bytes]
    ZmqContext = zmq.Context[ZmqRaw]

PATIENCE_S = 1.0
"""Seconds that it may take; usually it is less than a millisecond."""

_numbers = itertools.count(1)


async def unbind(context: ZmqContext, sock: ZmqRaw, endpoint: str) -> None:
    """Stop listening, and wait until the system knows.

    Args:
        context: Of the socket.
        sock: A bound socket; its connections go on.
        endpoint: Its real address.
    """
    news = f"inproc://amzmq-unbinding-{next(_numbers)}"
    sock.monitor(news, zmq.EVENT_CLOSED | zmq.EVENT_CLOSE_FAILED)
    monitor = context.socket(zmq.PAIR)
    try:
        monitor.connect(news)
        sock.unbind(endpoint)
        async with asyncio.timeout(PATIENCE_S):
            await _readable(monitor)
    except TimeoutError:
        log.warning("%s was not let go of within %g s", endpoint, PATIENCE_S)
    except zmq.ZMQError as err:
        log.debug("%s: cannot be unbound: %s", endpoint, err)  # closing it does that as well
    finally:
        sock.disable_monitor()
        monitor.close(0)


async def _readable(sock: ZmqRaw) -> None:
    """Wait for the first message; its descriptor only tells of edges, so EVENTS is asked."""
    loop = asyncio.get_running_loop()
    arrived = loop.create_future()

    def look() -> None:
        if not arrived.done() and int(sock.getsockopt(zmq.EVENTS)) & int(zmq.POLLIN):
            arrived.set_result(None)

    descriptor = int(sock.getsockopt(zmq.FD))
    loop.add_reader(descriptor, look)
    try:
        look()
        await arrived
    finally:
        loop.remove_reader(descriptor)
