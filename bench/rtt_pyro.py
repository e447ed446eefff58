"""A call by Pyro5: threads on both sides, values as msgpack, as ours."""

from __future__ import annotations

import time
from threading import Thread

import Pyro5.api  # type: ignore[import-untyped]

from bench.channel import PATIENCE_S, Channel
from bench.latency import report_latencies

NAME = "machine"
Pyro5.config.SERIALIZER = "msgpack"
Pyro5.config.COMMTIMEOUT = PATIENCE_S


class Machine:
    """What is called."""

    def __init__(self, reply_bytes: int) -> None:
        self.answered = 0
        self._reply = bytes(reply_bytes)

    @Pyro5.api.expose  # type: ignore[untyped-decorator]
    def add(self, _request: bytes) -> bytes:
        self.answered += 1
        return self._reply


def source(channel: Channel, reply_bytes: int) -> None:
    """Answers every request until told to stop."""
    machine = Machine(reply_bytes)
    with Pyro5.api.Daemon(host="127.0.0.1", port=0) as daemon:
        uri = daemon.register(machine, NAME)
        thread = Thread(target=daemon.requestLoop, name="pyro")
        thread.start()
        try:
            channel.send(addr=str(uri))
            channel.receive()
            channel.send(state=[machine.answered])
            channel.receive()
        finally:
            daemon.shutdown()
            thread.join(PATIENCE_S)


def client(channel: Channel, calls: int, warm_up: int, request_bytes: int) -> None:
    """Asks one after the other."""
    request, now = bytes(request_bytes), time.perf_counter_ns
    latencies = []
    with Pyro5.api.Proxy(channel.receive()["addr"]) as machine:
        add = machine.add
        for _ in range(warm_up + calls):
            start = now()
            add(request)
            latencies.append(now() - start)
        report_latencies(channel, latencies[warm_up:], states=[[warm_up + calls]])
        channel.receive()
