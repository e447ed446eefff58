"""Payloads in a plain for loop."""

from __future__ import annotations

import threading
from functools import partial

import pytest

from amzmq import blocking
from amzmq.errors import NotConnected

from .rig import NOBODY, PATIENCE_S, Threads, machine


def test_a_for_loop_gets_them_and_ends_with_the_client() -> None:
    got: list[object] = []

    def iterate(payloads: blocking.PayloadIterator) -> None:
        for payload in payloads:
            got.append(payload.data)

    with (
        blocking.Mux(machine()) as mux,
        Threads() as threads,
        blocking.Client(mux.addr) as client,
    ):
        threads.run(partial(iterate, client.payloads("price")))
        for number in range(3):
            mux.send_payload("price", number)
            mux.send_payload("other", None)
        client.sync()
    assert got == [0, 1, 2]


def test_what_waits_at_the_end_is_still_handed_out() -> None:
    with blocking.Mux(machine()) as mux:
        with blocking.Client(mux.addr) as client:
            payloads = client.payloads()
            for number in range(1000):
                mux.send_payload("n", number)
            client.sync()
            assert next(payloads).data == 0
        assert [payload.data for payload in payloads] == [*range(1, 1000)]
        assert payloads.next() is None
        assert payloads.dropped == 0


def test_a_timeout_loses_nothing() -> None:
    with blocking.Mux(machine()) as mux, blocking.Client(mux.addr) as client:
        payloads = client.payloads("n", timeout=0.01)
        with pytest.raises(blocking.TimedOut, match=r"timeout=0\.01"):
            next(payloads)
        with pytest.raises(TimeoutError):
            payloads.next(timeout=0)
        for number in range(3):
            mux.send_payload("n", number)
        got = [payloads.next(timeout=PATIENCE_S) for _ in range(3)]
        assert [payload and payload.data for payload in got] == [0, 1, 2]


def test_several_threads_may_share_one_and_each_payload_goes_to_one_of_them() -> None:
    count = 500
    with blocking.Mux(machine()) as mux, blocking.Client(mux.addr) as client:
        payloads = client.payloads()
        got: list[int] = []
        with Threads() as threads:
            for _ in range(4):
                threads.run(lambda: got.extend(payload.data for payload in payloads))
            for number in range(count):
                mux.send_payload("n", number)
            client.sync()
            client.stop()
        assert sorted(got) == [*range(count)]


def test_a_thread_that_waits_for_its_turn_has_a_timeout_too() -> None:
    with blocking.Mux(machine()) as mux, blocking.Client(mux.addr) as client:
        payloads = client.payloads()
        with Threads() as threads:
            began = threading.Event()

            def wait() -> None:
                began.set()
                payloads.next()

            threads.run(wait)
            assert began.wait(PATIENCE_S)
            with pytest.raises(blocking.TimedOut):
                payloads.next(timeout=0.01)
            client.stop()


def test_those_that_are_read_too_slowly_are_dropped_and_counted() -> None:
    with blocking.Mux(machine()) as mux, blocking.Client(mux.addr) as client:
        payloads = client.payloads("n", limit=10)
        for number in range(30):
            mux.send_payload("n", number)
        client.sync()
        assert payloads.dropped == client.metrics()["payloads_dropped"] == 20
        assert next(payloads).data == 20


def test_one_that_is_closed_ends_and_keeps_no_more() -> None:
    with blocking.Mux(machine()) as mux, blocking.Client(mux.addr) as client:
        with client.payloads(limit=1) as payloads, Threads() as threads:
            ended: list[object] = []
            began = threading.Event()

            def wait() -> None:
                began.set()
                ended.append(payloads.next())

            threads.run(wait)
            assert began.wait(PATIENCE_S)
            payloads.close()
            threads.join()
            assert ended == [None]
        for number in range(5):
            mux.send_payload("n", number)
        client.sync()
        assert client.metrics()["payloads_dropped"] == 0
    payloads.close()


def test_those_of_a_client_that_does_not_run() -> None:
    client = blocking.Client(NOBODY)
    payloads = client.payloads()
    with pytest.raises(NotConnected, match="start"):
        next(payloads)
    client.stop()
    assert list(payloads) == []
    assert list(client.payloads()) == []
