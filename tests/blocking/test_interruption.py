"""What a blocking program may do in the middle of things: Ctrl-C, fork, and just ending."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from amzmq import blocking
from amzmq.errors import ForkedError

from .rig import NOBODY, PATIENCE_S, Hanging, loop_threads, machine, until


@pytest.fixture(autouse=True)
def ctrl_c() -> Iterator[None]:
    """Ctrl-C raises KeyboardInterrupt, whoever runs the tests."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@contextmanager
def ctrl_c_when(happens: Callable[[], object]) -> Iterator[None]:
    """Interrupt the main thread once something happens in the block."""

    def interrupt() -> None:
        until(happens)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            yield
    finally:
        thread.join(PATIENCE_S)


def test_ctrl_c_while_connecting_leaves_nothing() -> None:
    client = blocking.Client(NOBODY, conn_timeout=PATIENCE_S)
    with ctrl_c_when(lambda: client.mach.is_("Connecting")), client:
        pytest.fail("nobody is there")
    assert client.mach.is_disposed
    assert loop_threads() == 0


def test_ctrl_c_in_a_call_leaves_the_client_as_it_was() -> None:
    with Hanging() as source, blocking.Client(source.addr) as c:
        with ctrl_c_when(source.hangs.is_set):
            c.net_mach.add("Hang")
        source.go_on.set()
        assert c.net_mach.when("Hang").wait(PATIENCE_S)
        c.net_mach.add("Start")
        assert c.net_mach.is_("Start")


def test_ctrl_c_in_a_wait_and_in_a_for_loop_leaves_nothing_behind() -> None:
    with blocking.Mux(machine()) as mux, blocking.Client(mux.addr) as c:
        waits = c.net_mach.aio._subs
        with ctrl_c_when(lambda: waits.pending):
            c.net_mach.when("Start").wait(PATIENCE_S)
        assert waits.pending == 0
        payloads = c.payloads()
        with ctrl_c_when(lambda: c._line._tasks):
            next(payloads)
        mux.send_payload("n", 1)
        assert next(payloads).data == 1


def test_ctrl_c_while_stopping_still_closes_everything() -> None:
    client = blocking.Client(NOBODY)
    client.start()
    stopping = threading.Event()
    go_on = threading.Event()

    def hold_up() -> None:
        stopping.set()
        go_on.wait(PATIENCE_S)

    client.mach.on_dispose(hold_up)
    interrupted: list[int] = []

    def release() -> None:
        until(lambda: interrupted)
        go_on.set()

    def note(number: int, frame: object) -> None:
        interrupted.append(number)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, note)
    thread = threading.Thread(target=release)
    thread.start()
    with ctrl_c_when(stopping.is_set):
        client.stop()
    thread.join(PATIENCE_S)
    assert client.mach.is_disposed
    assert loop_threads() == 0


def test_after_a_fork_calls_are_refused_and_the_parent_goes_on() -> None:
    source = machine()
    with blocking.Mux(source) as mux, blocking.Client(mux.addr) as c:
        net, payloads = c.net_mach, c.payloads()
        child = os.fork()
        if child == 0:
            refused = 0
            try:
                for use in (
                    lambda: net.add("Start"),
                    lambda: net.add_ns("Start"),
                    lambda: net.when("Start"),
                    lambda: next(payloads),
                    lambda: c.sync(),
                    lambda: c.start(),
                    lambda: mux.send_payload("n", 1),
                ):
                    try:
                        use()
                    except ForkedError:
                        refused += 1
                c.stop()  # of no effect: it is the parent's
                with blocking.Mux(machine()) as own, blocking.Client(own.addr) as d:
                    d.net_mach.add("Start", timeout=PATIENCE_S)
                    refused += d.net_mach.is_("Start")
            finally:
                os._exit(refused)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 8
        net.add("Start")
        assert source.is_("Start")


PROGRAM = """
from amzmq import Machine, State, blocking

mux = blocking.Mux(Machine({"Start": State()}, id="src"))
mux.start()
client = blocking.Client(mux.addr)
client.start()
client.ready()
client.net_mach.add("Start")
print(client.net_mach)
"""


def test_a_program_that_forgets_to_stop_ends_all_the_same() -> None:
    command = [sys.executable, "-c", PROGRAM]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "(Start:1)\n", "")
