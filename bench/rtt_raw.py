"""The limit of a call: raw pyzmq, DEALER to ROUTER and back, both blocking."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import zmq

from bench.channel import PATIENCE_S, Channel
from bench.latency import RateWatch, report_latencies

STOP = b""


def source(channel: Channel, reply_bytes: int) -> None:
    """Answers every request until an empty one comes."""
    reply, echoed = bytes(reply_bytes), 0
    with _socket(zmq.ROUTER) as router:
        port = router.bind_to_random_port("tcp://127.0.0.1")
        channel.send(addr=f"tcp://127.0.0.1:{port}")
        while True:
            peer, request = router.recv_multipart()
            if request == STOP:
                break
            router.send_multipart((peer, reply))
            echoed += 1
        channel.receive()
        channel.send(state=[echoed])
        channel.receive()


def client(channel: Channel, calls: int, warm_up: int, request_bytes: int) -> None:
    """Asks one after the other."""
    request = bytes(request_bytes)
    latencies = []
    now = time.perf_counter_ns
    with _socket(zmq.DEALER) as dealer:
        dealer.connect(channel.receive()["addr"])
        for _ in range(warm_up):
            dealer.send(request)
            dealer.recv()
        for _ in range(calls):
            start = now()
            dealer.send(request)
            dealer.recv()
            latencies.append(now() - start)
        dealer.send(STOP)
        report_latencies(channel, latencies, states=[[warm_up + calls]])
        channel.receive()


def pipelined(channel: Channel, calls: int, warm_up: int, request_bytes: int, window: int) -> None:
    """Keeps so many requests in flight."""
    request = bytes(request_bytes)
    with _socket(zmq.DEALER) as dealer:
        dealer.connect(channel.receive()["addr"])
        _in_flight(dealer, request, warm_up, window)
        watch = RateWatch()
        _in_flight(dealer, request, calls, window)
        dealer.send(STOP)
        watch.report(channel, calls, states=[[warm_up + calls]])
        channel.receive()


def _in_flight(dealer: zmq.Socket[bytes], request: bytes, calls: int, window: int) -> None:
    first = min(window, calls)
    for _ in range(first):
        dealer.send(request)
    for _ in range(calls - first):
        dealer.recv()
        dealer.send(request)
    for _ in range(first):
        dealer.recv()


@contextmanager
def _socket(kind: int) -> Iterator[zmq.Socket[bytes]]:
    with zmq.Context() as context, context.socket(kind) as socket:
        # Whoever is left alone by a failure must not wait for ever.
        socket.setsockopt(zmq.RCVTIMEO, int(PATIENCE_S * 1000))
        socket.setsockopt(zmq.LINGER, 1000)
        yield socket
