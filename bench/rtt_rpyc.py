"""A call by RPyC: threads on both sides."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from threading import Thread
from typing import Any

import rpyc  # type: ignore[import-untyped]
from rpyc.utils.server import OneShotServer  # type: ignore[import-untyped]

from bench.channel import PATIENCE_S, Channel
from bench.latency import RateWatch, report_latencies


def source(channel: Channel, reply_bytes: int) -> None:
    """Answers every request until told to stop."""
    reply, answered = bytes(reply_bytes), 0

    def add(_service: object, _request: bytes) -> bytes:
        nonlocal answered
        answered += 1
        return reply

    service = type("Machine", (rpyc.Service,), {"exposed_add": add})
    server = OneShotServer(service, hostname="127.0.0.1", port=0)
    # Its thread would do so too, but perhaps after the client has come.
    server.listener.listen()
    thread = Thread(target=server.start, name="rpyc")
    thread.start()
    try:
        channel.send(port=server.port)
        channel.receive()
        channel.send(state=[answered])
        # It ends by itself when the client leaves; ended earlier, it would complain.
        thread.join(PATIENCE_S)
        channel.receive()
    finally:
        server.close()


def client(channel: Channel, calls: int, warm_up: int, request_bytes: int) -> None:
    """Asks one after the other."""
    request, now = bytes(request_bytes), time.perf_counter_ns
    latencies = []
    connection = rpyc.connect("127.0.0.1", channel.receive()["port"])
    try:
        # The method is looked up once: each look-up would be a call of its own.
        add = connection.root.add
        for _ in range(warm_up + calls):
            start = now()
            add(request)
            latencies.append(now() - start)
        report_latencies(channel, latencies[warm_up:], states=[[warm_up + calls]])
        channel.receive()
    finally:
        connection.close()


def pipelined(channel: Channel, calls: int, warm_up: int, request_bytes: int, window: int) -> None:
    """Keeps so many calls in flight."""
    request = bytes(request_bytes)
    connection = rpyc.connect("127.0.0.1", channel.receive()["port"])
    try:
        add = rpyc.async_(connection.root.add)
        _in_flight(lambda: add(request), warm_up, window)
        watch = RateWatch()
        _in_flight(lambda: add(request), calls, window)
        watch.report(channel, calls, states=[[warm_up + calls]])
        channel.receive()
    finally:
        connection.close()


def _in_flight(call: Callable[[], Any], calls: int, window: int) -> None:
    under_way: deque[Any] = deque()
    for _ in range(calls):
        if len(under_way) == window:
            under_way.popleft().wait()
        under_way.append(call())
    while under_way:
        under_way.popleft().wait()
