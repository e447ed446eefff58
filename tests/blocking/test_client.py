"""A client in a program without asyncio: its life, its calls, and its errors."""

from __future__ import annotations

import threading

import pytest

from amzmq import AmzmqError, Result, blocking
from amzmq.errors import (
    BlockingWait,
    CallTimeout,
    ConnectFailed,
    InvalidArgs,
    NotConnected,
    StateUnknown,
)
from amzmq.machine import Event

from .rig import (
    NOBODY,
    PATIENCE_S,
    QUICK,
    Hanging,
    Threads,
    following,
    loop_threads,
    machine,
    until,
)


def test_it_works_as_it_is_written_down() -> None:
    with blocking.Mux(machine(), bind="tcp://127.0.0.1:0") as mux:
        addr = mux.addr
        with blocking.Client(addr) as c:
            c.net_mach.add("Start")
            assert c.net_mach.when("Ready").wait(5)
            assert c.net_mach.is_("Start", "Ready")


def test_mutations_block_until_their_effect_is_here() -> None:
    source = machine()
    with following(source) as c:
        net = c.net_mach
        assert net.add("Start", user=42) is Result.EXECUTED
        assert net.active_states() == ["Start", "Ready"]
        assert net.toggle("Start") is Result.EXECUTED
        assert net.set("Absent") is Result.EXECUTED
        assert net.remove("Absent") is Result.EXECUTED
        assert net.not_("Start", "Absent")
        assert net.add("Never") is Result.CANCELED
        assert net.can_add("Never") is Result.CANCELED
        assert net.add_err_state("ErrDisk", OSError("full")) is Result.EXECUTED
        assert net.add_err(ValueError("why")) is Result.EXECUTED
        assert net.is_err()
        assert net.tick("ErrDisk") == source.tick("ErrDisk")
        assert str(net) == str(source)


def test_arguments_arrive_and_one_named_timeout_goes_as_a_mapping() -> None:
    source = machine()
    seen: list[dict[str, object]] = []
    source.bind({"MsgState": lambda e: seen.append(dict(e.args))})
    with following(source) as c:
        c.net_mach.add("Msg", args={"timeout": 1}, user=42, timeout=PATIENCE_S)
    assert seen == [{"timeout": 1, "user": 42}]


def test_calls_without_a_reply_are_caught_up_with_by_sync() -> None:
    with following(machine()) as c:
        assert c.net_mach.add_ns("Start") is Result.EXECUTED
        assert c.sync().tick(c.net_mach.index("Start")) == 1
        assert c.sync(timeout=PATIENCE_S) == c.net_mach.time()


def test_errors_are_those_of_the_asyncio_client() -> None:
    with following(machine()) as c:
        with pytest.raises(StateUnknown, match="Nope"):
            c.net_mach.add("Nope")
        with pytest.raises(InvalidArgs):
            c.net_mach.add("Msg", thing=object())
        with pytest.raises(InvalidArgs):
            c.net_mach.when_time({})
        assert c.net_mach.add("Msg") is Result.EXECUTED


def test_many_threads_at_once_lose_nothing_and_do_nothing_twice() -> None:
    source = machine()
    with following(source) as c:

        def work() -> None:
            for _ in range(25):
                assert c.net_mach.add("Msg") is Result.EXECUTED

        with Threads() as threads:
            for _ in range(8):
                threads.run(work)
        assert source.tick("Msg") == c.net_mach.tick("Msg") == 2 * 200 - 1


def test_all_twins_share_one_thread_which_ends_with_the_last() -> None:
    source = machine()
    with blocking.Mux(source) as mux:
        with blocking.Client(mux.addr, name="a") as a, blocking.Client(mux.addr, name="b") as b:
            assert loop_threads() == 1
            a.net_mach.add("Start")
            assert b.net_mach.when("Start").wait(PATIENCE_S)
        assert loop_threads() == 1
    assert loop_threads() == 0


def test_a_source_that_is_not_there_is_an_error_that_leaves_no_thread() -> None:
    with (
        pytest.raises(ConnectFailed, match="Is a Mux serving there"),
        blocking.Client(NOBODY, conn_timeout=0.05, conn_retries=1, **QUICK),
    ):
        pytest.fail("nobody is there")
    assert loop_threads() == 0
    with pytest.raises(NotConnected, match="addr"):
        blocking.Client("")


def test_it_may_be_started_and_stopped_by_hand() -> None:
    with blocking.Mux(machine()) as mux:
        client = blocking.Client(mux.addr, name="hand", **QUICK)
        with pytest.raises(NotConnected, match="start"):
            client.sync()
        with pytest.raises(NotConnected, match="no replica"):
            _ = client.net_mach
        assert client.start() is Result.EXECUTED
        assert client.start() is Result.EXECUTED
        client.ready(timeout=PATIENCE_S)
        assert client.mach.is_("Ready")
        net = client.net_mach
        assert client.net_mach is net
        client.stop()
        client.stop()
        assert loop_threads() == 1  # the mux's
    with pytest.raises(NotConnected, match="was stopped"):
        net.add("Msg")
    with pytest.raises(NotConnected, match="was stopped"):
        client.start()
    assert net.is_disposed
    assert client.metrics()["connects"] == 1
    assert net.add_ns("Msg") is Result.CANCELED


def test_ready_has_a_timeout_of_its_own() -> None:
    client = blocking.Client(NOBODY)
    client.start()
    try:
        with pytest.raises(blocking.TimedOut, match=r"ready\(\).*timeout=0.01"):
            client.ready(timeout=0.01)
    finally:
        client.stop()


def test_one_that_was_never_started_may_be_stopped() -> None:
    blocking.Client(NOBODY).stop()
    assert loop_threads() == 0


def test_a_call_that_takes_too_long_is_given_up_and_its_effect_comes_later() -> None:
    with Hanging() as source, blocking.Client(source.addr) as c:
        with pytest.raises(blocking.TimedOut, match=r"add\(\).*timeout=0.05") as caught:
            c.net_mach.add("Hang", timeout=0.05)
        assert isinstance(caught.value, CallTimeout)
        assert isinstance(caught.value, TimeoutError)
        assert isinstance(caught.value, AmzmqError)
        assert source.hangs.wait(PATIENCE_S)
        source.go_on.set()
        assert c.net_mach.when("Hang").wait(PATIENCE_S)


def test_a_stop_ends_whatever_other_threads_wait_for() -> None:
    with Hanging() as source, Threads() as threads:
        client = blocking.Client(source.addr)
        client.start()
        client.ready()
        outcomes: dict[str, object] = {}
        waiting = threading.Barrier(4)

        def call() -> None:
            waiting.wait(PATIENCE_S)
            try:
                client.net_mach.add("Hang")
            except NotConnected as error:
                outcomes["call"] = type(error)

        def wait() -> None:
            waiting.wait(PATIENCE_S)
            outcomes["wait"] = client.net_mach.when("Absent").wait(PATIENCE_S)

        def iterate() -> None:
            payloads = client.payloads("none")
            waiting.wait(PATIENCE_S)
            outcomes["payloads"] = list(payloads)

        for work in (call, wait, iterate):
            threads.run(work)
        waiting.wait(PATIENCE_S)
        assert source.hangs.wait(PATIENCE_S)
        with Threads() as stopping:
            for _ in range(3):
                stopping.run(client.stop)
        threads.join()
        assert outcomes == {"call": NotConnected, "wait": True, "payloads": []}


def test_handlers_run_on_the_loop_thread_and_may_not_block_there() -> None:
    with following(machine()) as c:
        net = c.net_mach
        errors: list[Exception] = []
        names: list[str] = []
        done = threading.Event()

        def MsgState(e: Event) -> None:
            names.append(threading.current_thread().name)
            for forbidden in (
                lambda: net.add("Start"),
                lambda: net.when("Absent").wait(1),
                lambda: c.sync(),
                lambda: c.payloads().next(timeout=1),
                lambda: c.stop(),
            ):
                try:
                    forbidden()
                except BlockingWait as error:
                    errors.append(error)
            assert c.metrics()["connects"] == 1
            assert net.add_ns("Start") is Result.EXECUTED
            done.set()

        assert net.bind({"MsgState": MsgState}, id="h") == "h"
        assert net.handlers() == ["h"]
        net.add("Msg")
        assert done.wait(PATIENCE_S)
        assert net.when("Start").wait(PATIENCE_S)
        assert len(errors) == 5
        assert names == ["amzmq-blocking"]
        net.detach("h")
        net.add("Msg")
        assert len(names) == 1


def test_async_handlers_of_a_replica_are_tasks_on_the_loop_thread() -> None:
    with following(machine()) as c:
        names: list[str] = []

        async def StartState(e: Event) -> None:
            await e.machine.add("Msg")
            names.append(threading.current_thread().name)

        c.net_mach.bind({"StartState": StartState})
        c.net_mach.add("Start")
        assert c.net_mach.when("Msg").wait(PATIENCE_S)
        until(lambda: names)
        assert names == ["amzmq-blocking"]


async def test_in_an_asyncio_program_it_says_so_instead_of_blocking_the_loop() -> None:
    with pytest.raises(BlockingWait, match="asyncio program"):
        blocking.Client(NOBODY).start()
    with pytest.raises(BlockingWait, match="event loop"), blocking.Client(NOBODY):
        pytest.fail("it cannot be entered")
    assert loop_threads() == 0


def test_a_system_exit_in_a_callback_does_not_end_the_loop_thread(
    caplog: pytest.LogCaptureFixture,
) -> None:
    source = machine()
    with blocking.Mux(source) as mux, blocking.Client(mux.addr) as c:

        def leave(payload: object) -> None:
            raise SystemExit(3)

        c.on_payload(leave)
        mux.send_payload("go", None)
        until(lambda: "SystemExit(3)" in caplog.text)
        c.net_mach.add("Start")
        assert c.net_mach.is_("Start")


def test_one_that_is_dropped_unstopped_warns_and_leaves_nothing() -> None:
    with blocking.Mux(machine()) as mux:
        clients = [blocking.Client(mux.addr, name="lost")]
        clients[0].start()
        clients[0].ready()
        assert mux.clients.keys() == {"rc-lost"}
        with pytest.warns(ResourceWarning, match="blocking client rc-lost was never stopped"):
            clients.clear()
        assert mux.mach.when_not("HasClients").wait(PATIENCE_S)
        assert loop_threads() == 1
    until(lambda: loop_threads() == 0)  # nobody waits for what is ended so


def test_the_public_state_of_a_client_is_readable_from_any_thread() -> None:
    source = machine()
    consumer = machine()
    with blocking.Mux(source, heartbeat=0.5) as mux:
        with pytest.raises(AmzmqError, match="consumer"):
            blocking.Client(mux.addr, consumer=consumer)
        with blocking.Client(mux.addr, name="seen") as c:
            c.net_mach.add("Start")
            assert (c.addr, c.heartbeat, c.consumer) == (mux.addr, 0.5, None)
            assert c.call_count == c.metrics()["calls"] == 1
            assert c.epoch
            assert c.last_msg_at > 0
            assert c.options.call_timeout == c.aio.options.call_timeout
            net = c.net_mach
            assert net.remote_id == "src"
            assert net.time() == source.time()
            assert net.clock() == source.clock()
            assert net.schema.keys() == source.schema.keys()
            assert net.export()["state_names"] == list(source.state_names)
            assert net.transition() is None
            assert not net.is_local


def test_waits_that_only_the_source_can_end() -> None:
    source = machine()
    with following(source) as c:
        called = c.net_mach.when_args("Msg", user=42)
        assert c.net_mach.when_queue_ends().wait(PATIENCE_S)
        source.add("Msg", user=1)
        c.sync()
        assert not called.done()
        source.add("Msg", user=42)
        assert called.wait(PATIENCE_S)
        with pytest.raises(StateUnknown):
            c.net_mach.when_args("Nope")


def test_waits_at_the_source_end_with_their_context() -> None:
    source = machine()
    source.add("Start")
    with following(source) as c:
        net = c.net_mach
        started = net.state_ctx("Start")
        called = net.when_args("Msg", user=1, ctx=started)
        released = net.when_args_of("Msg", {"user": 2}, ctx=started)
        assert net.when_queue_ends().wait(PATIENCE_S)  # asked for last: the source knows them all
        source.add("Msg", user=1)
        assert called.wait(PATIENCE_S)
        assert not released.done()
        net.remove("Start")
        assert released.wait(PATIENCE_S)
