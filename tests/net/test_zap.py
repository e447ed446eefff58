"""What those who are refused leave behind."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import zmq

from amzmq.net import ZmqTransport
from amzmq.net.keys import Keys
from amzmq.net.log import log
from tests.conftest import open_fds

from .conftest import PATIENCE_S, QUICK, Ends

# Long, so that on a busy machine nobody is sent away before they are refused; who is refused goes.
OPTIONS = replace(QUICK, handshake_ms=30_000)
SERVER = Keys.generate()
AT_ONCE = 100
REFUSED = 2000


@pytest.fixture
def strangers() -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
    context = zmq.Context()
    context.socket(zmq.PAIR).close()  # starts its threads, whose descriptors stay
    yield context
    context.term()


async def until(condition: Callable[[], bool]) -> None:
    """Turns the loop; without a timeout of its own, which would stay in the loop and be counted."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.001)


async def knock(
    strangers: zmq.Context[zmq.Socket[bytes]], source: ZmqTransport, endpoint: str
) -> None:
    """Strangers, each with a key of its own, are refused and go, and their connections end."""
    before = source.counts.refused
    open_before = len(open_fds())
    knocking = []
    try:
        for _ in range(AT_ONCE):
            knocking.append(strangers.socket(zmq.DEALER))
            knocking[-1].setsockopt(zmq.LINGER, 0)
            knocking[-1].setsockopt(zmq.RECONNECT_IVL, -1)
            public, secret = zmq.curve_keypair()
            knocking[-1].setsockopt(zmq.CURVE_SERVERKEY, SERVER.public.encode())
            knocking[-1].setsockopt(zmq.CURVE_PUBLICKEY, public)
            knocking[-1].setsockopt(zmq.CURVE_SECRETKEY, secret)
            knocking[-1].connect(endpoint)
        await until(lambda: source.counts.refused == before + AT_ONCE)
    finally:
        for dealer in knocking:
            dealer.close()
    await until(lambda: len(open_fds()) <= open_before)


def objects() -> tuple[int, int]:
    """How many objects there are that the collector knows, and pieces of memory for any."""
    gc.collect()
    return len(gc.get_objects()), sys.getallocatedblocks()


async def test_thousands_of_refused_handshakes_leave_no_object_behind(
    strangers: zmq.Context[zmq.Socket[bytes]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR, log.name)  # what is logged is kept for the test's report
    source = ZmqTransport(OPTIONS, curve=SERVER, authenticator=lambda key: False)
    ends = Ends()
    try:
        endpoint = source.router("tcp://127.0.0.1:*", ends.on_peer).endpoint
        async with asyncio.timeout(PATIENCE_S):
            await knock(strangers, source, endpoint)
            known, pieces = objects()
            for _ in range(REFUSED // AT_ONCE):
                await knock(strangers, source, endpoint)
            known_now, pieces_now = objects()
    finally:
        await asyncio.wait_for(source.close(), 10)
    assert source.counts.refused == AT_ONCE + REFUSED
    assert source.counts.accepted == 0
    assert ends == Ends()
    # One for every twentieth refusal would be more.
    assert known_now - known < REFUSED / 20
    assert pieces_now - pieces < REFUSED / 20
