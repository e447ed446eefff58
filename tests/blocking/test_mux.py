"""A mux in a program without asyncio: a machine that plain threads mutate, served all the while."""

from __future__ import annotations

import asyncio
import threading
from functools import partial
from typing import Any

import pytest

from amzmq import Machine, State, blocking
from amzmq.errors import (
    AddressInUse,
    AddressInvalid,
    FrameTooLarge,
    InvalidArgs,
    NotConnected,
    RpcError,
)
from amzmq.machine import Event
from amzmq.rpc.server.feed import Feed
from tests.ports import free_addr

from .rig import PATIENCE_S, Threads, loop_threads, machine


def test_what_plain_threads_do_to_the_machine_reaches_the_clients() -> None:
    source = machine()
    with blocking.Mux(source) as mux, blocking.Client(mux.addr) as c:

        def work() -> None:
            for _ in range(200):
                source.add("Msg")

        with Threads() as threads:
            for _ in range(4):
                threads.run(work)
        assert c.net_mach.when_time({"Msg": 2 * 800 - 1}).wait(PATIENCE_S)
        c.sync()
        assert c.net_mach.time() == source.time()
        assert c.metrics()["mismatches"] == 0


def test_clients_and_threads_may_mutate_at_the_same_time() -> None:
    source = machine()
    with blocking.Mux(source) as mux, blocking.Client(mux.addr) as c:
        with Threads() as threads:
            threads.run(lambda: [source.add("Msg") for _ in range(200)])
            threads.run(lambda: [c.net_mach.add("Msg") for _ in range(50)])
        assert source.when_time({"Msg": 2 * 250 - 1}).wait(PATIENCE_S)
        c.sync()
        assert c.net_mach.time() == source.time()


def test_it_may_stop_while_threads_go_on_mutating() -> None:
    source = machine()
    for _ in range(20):
        enough = threading.Event()

        def work(enough: threading.Event = enough) -> None:
            while not enough.is_set():
                source.add("Msg")

        with Threads() as threads:
            try:
                threads.run(work)
                with blocking.Mux(source):
                    assert source.when_ticks("Msg", 10).wait(PATIENCE_S)
                assert source.when_ticks("Msg", 10).wait(PATIENCE_S)
            finally:
                enough.set()


def test_payloads_are_in_order_with_the_states() -> None:
    source = machine()
    with blocking.Mux(source) as mux, blocking.Client(mux.addr) as c:
        ticks: list[int] = []
        c.on_payload(lambda payload: ticks.append(c.net_mach.tick("Msg")))
        payloads = c.payloads("n", timeout=PATIENCE_S)
        for number in range(20):
            source.add("Msg")
            assert len(mux.send_payload("n", number).token) == 8
        assert [payload.data for _, payload in zip(range(20), payloads, strict=False)] == [
            *range(20)
        ]
        assert ticks == [2 * number + 1 for number in range(20)]


def test_a_payload_for_one_client_reaches_no_other() -> None:
    with (
        blocking.Mux(machine()) as mux,
        blocking.Client(mux.addr, name="a") as a,
        blocking.Client(mux.addr, name="b") as b,
    ):
        at_a, at_b = a.payloads(timeout=PATIENCE_S), b.payloads(timeout=PATIENCE_S)
        receipt = mux.send_payload("n", "for b", destination="b")
        receipt.result(timeout=PATIENCE_S)
        assert next(at_b).data == "for b"
        mux.send_payload("n", "for all")
        assert next(at_a).data == next(at_b).data == "for all"


def test_what_cannot_be_sent_is_the_caller_s_error() -> None:
    with blocking.Mux(machine()) as mux:
        with pytest.raises(InvalidArgs):
            mux.send_payload("p", object())
        with pytest.raises(FrameTooLarge):
            mux.send_payload("p", b"." * mux.aio._frame_limit)
        with pytest.raises(NotConnected, match="nobody"):
            mux.send_payload("p", 1, destination="nobody")


def test_a_handler_sends_payloads_on_whichever_thread_it_runs() -> None:
    source = machine()
    with blocking.Mux(source) as mux, blocking.Client(mux.addr) as c:
        payloads = c.payloads(timeout=PATIENCE_S)
        source.bind({"MsgState": lambda e: _send(mux, e)})
        c.net_mach.add("Msg", by="client")
        source.add("Msg", by="thread")
        got = [next(payloads), next(payloads)]
        assert [payload.data for payload in got] == ["client", "thread"]
        assert all(payload.source_tx for payload in got)


def _send(mux: blocking.Mux, e: Event) -> None:
    mux.send_payload("by", str(e.args["by"]), event=e)


def test_an_event_loop_of_your_own_may_send_payloads_too() -> None:
    source = machine()
    with blocking.Mux(source) as mux, blocking.Client(mux.addr) as c:
        payloads = c.payloads(timeout=PATIENCE_S)

        async def send() -> None:
            mux.send_payload("p", 1)

        asyncio.run(send())
        assert next(payloads).data == 1


def test_an_address_in_use_is_an_error_that_leaves_nothing_and_disturbs_nobody() -> None:
    with blocking.Mux(machine()) as mux:
        with pytest.raises(AddressInUse), blocking.Mux(machine(), bind=mux.addr):
            pytest.fail("it is in use")
        with pytest.raises(RpcError, match="serves already"):
            mux.start()
        with blocking.Client(mux.addr) as c:
            c.net_mach.add("Start", timeout=PATIENCE_S)
    assert loop_threads() == 0
    with pytest.raises(AddressInvalid):
        blocking.Mux(machine(), bind="tcp://127.0.0.1").start()
    assert loop_threads() == 0


def test_a_mux_whose_address_was_taken_serves_once_it_is_free() -> None:
    source = machine()
    with blocking.Mux(machine(), bind=free_addr()) as first:
        mux = blocking.Mux(source, bind=first.addr)
        for _ in range(2):
            with pytest.raises(AddressInUse):
                mux.start()
    assert loop_threads() == 0
    with mux, blocking.Client(mux.addr) as c:
        c.net_mach.add("Start", timeout=PATIENCE_S)
        assert source.is_("Start")
    assert loop_threads() == 0
    with pytest.raises(NotConnected, match="was stopped"):
        mux.start()


def test_what_it_knows_may_be_read_from_any_thread() -> None:
    source = machine()
    mux = blocking.Mux(source, name="seen")
    with pytest.raises(NotConnected, match="start"):
        _ = mux.addr
    with mux:
        assert mux.source is source
        assert mux.mach.id == "rm-seen"
        assert mux.mach.is_("Ready")
        assert mux.feed_addr != mux.addr
        with Threads() as threads:
            for number in range(4):
                threads.run(partial(_come_and_go, mux, number))
            for _ in range(100):
                assert len(mux.clients) <= 4
                assert mux.metrics()["expired"] == 0
        source.add("Start")
        mux.flush()
        assert mux.published["updates"] == 1
        assert mux.counters.hellos == mux.metrics()["hellos"] == 12


def _come_and_go(mux: blocking.Mux, number: int) -> None:
    for _ in range(3):
        with blocking.Client(mux.addr, name=f"c{number}") as c:
            assert f"rc-c{number}" in mux.clients
            c.sync()


def test_clients_are_told_why_it_stops() -> None:
    mux = blocking.Mux(machine())
    mux.start()
    with blocking.Client(mux.addr) as c:
        told = c.mach.when_err()
        mux.stop("for lunch")
        assert told.wait(PATIENCE_S)
        assert "for lunch" in str(c.mach.err())
    mux.stop()


def test_a_machine_that_serves_may_follow_another_in_the_same_program() -> None:
    near, far = machine(), Machine({"Seen": State(multi=True)}, id="far")
    with blocking.Mux(near) as mux, blocking.Mux(far) as other, blocking.Client(mux.addr) as c:
        c.net_mach.bind({"MsgState": lambda e: far.add("Seen")})
        with blocking.Client(other.addr) as d:
            near.add("Msg")
            assert d.net_mach.when("Seen").wait(PATIENCE_S)


def test_several_machines_are_served_listed_and_withdrawn() -> None:
    one, two = machine(), Machine({"Lamp": State()}, id="lamp")
    with blocking.Mux(one) as mux:
        mux.serve(two)
        assert [*mux.sources] == ["src", "lamp"]
        assert mux.sources["lamp"] is two
        listed = blocking.list_machines(mux.addr, timeout=PATIENCE_S)
        assert listed == mux.machines()
        assert [info.id for info in listed] == ["src", "lamp"]
        with blocking.Client(mux.addr, machine="lamp") as c:
            assert [info.id for info in c.machines(timeout=PATIENCE_S)] == ["src", "lamp"]
            c.net_mach.add("Lamp")
            assert two.is_("Lamp")
            mux.unserve("lamp")
            assert c.mach.when_not("Ready").wait(PATIENCE_S)
    assert loop_threads() == 0


def test_a_machine_may_be_published_by_a_feed_of_your_own() -> None:
    made: list[Feed] = []

    def make(*args: Any) -> Feed:
        made.append(Feed(*args))
        return made[-1]

    lamp = Machine({"Lamp": State()}, id="lamp")
    with blocking.Mux(machine()) as mux:
        mux.serve(lamp, make)
        with blocking.Client(mux.addr, machine="lamp") as c:
            c.net_mach.add("Lamp", timeout=PATIENCE_S)
        assert [feed.source for feed in made] == [lamp]


def test_a_replica_is_served_on_by_a_second_mux() -> None:
    source = machine()
    with (
        blocking.Mux(source) as mux,
        blocking.Client(mux.addr) as c,
        blocking.Mux(c.net_mach.aio) as relay,
        blocking.Client(relay.addr) as d,
    ):
        d.net_mach.add("Start", timeout=PATIENCE_S)
        assert source.is_("Start")
        assert d.net_mach.is_("Ready")
