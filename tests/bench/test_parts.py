"""Small parts of the benchmarks: what is needed, brokers, traffic, calls in flight."""

from __future__ import annotations

import asyncio
import os
import socket
import sys

import pytest

from bench import brokers, traffic
from bench.bytes_loop import Work
from bench.channel import Channel
from bench.latency import in_flight, one_by_one
from bench.needs import Needs, sort_out
from bench.report import BenchError
from bench.workers import check_equal

SAYS_READY = """
import signal
print("warming up")
print("is ready", flush=True)
signal.pause()
"""


def test_what_is_there_lacks_nothing() -> None:
    assert Needs(packages=("zmq",), programs=("sh",)).lacking() == ""


def test_what_is_missing_is_named_with_the_remedy() -> None:
    why = Needs(packages=("no_such_package",), programs=("no-such-program",)).lacking()
    assert "no_such_package" in why
    assert "pip install" in why
    assert "no-such-program" in why
    assert sort_out({"there": Needs(), "absent": Needs(programs=("no-such-program",))}).keys() == {
        "absent"
    }


def test_broker_runs_until_the_end_of_its_block() -> None:
    with brokers.running([sys.executable, "-c", SAYS_READY], "is ready") as pid:
        os.kill(pid, 0)
        assert brokers.cpu_ns(pid) > 0
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_broker_that_ends_says_why() -> None:
    command = [sys.executable, "-c", "print('the port is taken')"]
    with pytest.raises(BenchError, match="the port is taken"), brokers.running(command, "ready"):
        pass


def test_broker_that_is_never_ready_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brokers, "PATIENCE_S", 0.05)
    command = [sys.executable, "-c", SAYS_READY]
    with pytest.raises(BenchError, match="not ready"), brokers.running(command, "other words"):
        pass


async def test_traffic_counts_the_bytes_of_tcp() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client, server.accept()[0] as peer:
            before, before_client = traffic.of_process(), traffic.of_process({port})
            client.sendall(bytes(1000))
            peer.sendall(bytes(10))
            found = await traffic.settled() - before
            assert found == (1010, 1010)
            assert found.total == 2020
            assert await traffic.settled({port}) - before_client == (1000, 10)


async def test_traffic_that_never_rests_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = iter(range(100))
    monkeypatch.setattr(traffic, "of_process", lambda _ports: traffic.Traffic(next(seen), 0))
    monkeypatch.setattr(traffic, "_LOOKS", 3)
    with pytest.raises(BenchError, match="did not rest"):
        await traffic.settled()


async def test_calls_in_flight_are_as_many_as_the_window() -> None:
    under_way, most, calls = 0, 0, 0

    async def call() -> None:
        nonlocal under_way, most, calls
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1
        calls += 1

    await in_flight(call, 32, window=8)
    assert (most, calls) == (8, 32)


async def test_calls_that_do_not_fill_the_window_are_an_error() -> None:
    async def call() -> None: ...

    with pytest.raises(BenchError, match="multiple"):
        await in_flight(call, 33, window=8)


async def test_calls_one_by_one_are_timed_each() -> None:
    async def call() -> None: ...

    assert len(await one_by_one(call, 3)) == 3


def test_work_knows_right_from_wrong() -> None:
    work = Work()
    work.call(work.value)
    work.call("another")
    assert (work.done, work.wrong) == (1, 1)


def test_equal_states_pass() -> None:
    check_equal({"state": [1, 2]}, {"states": [[1, 2], [1, 2]]}, 2)


@pytest.mark.parametrize(
    ("states", "message"),
    [
        ([[1, 2], [2, 1]], "1 of 2 replicas differ"),
        ([[1, 2]], "1 are missing"),
        ([], "2 are missing"),
    ],
)
def test_different_or_missing_replicas_are_an_error(states: list[list[int]], message: str) -> None:
    with pytest.raises(BenchError, match=message):
        check_equal({"state": [1, 2]}, {"states": states}, 2)


def test_news_are_there_before_they_are_read() -> None:
    reader, writer = os.pipe()
    channel = Channel(reader, writer)
    try:
        assert not channel.has_news()
        channel.send(number=1)
        channel.send(number=2)
        assert channel.has_news()
        assert channel.receive() == {"number": 1}
        # The second came along with the first.
        assert channel.has_news()
        assert channel.receive() == {"number": 2}
        assert not channel.has_news()
    finally:
        os.close(reader)
        os.close(writer)
