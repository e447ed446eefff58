"""What every test gets: a check that it leaves nothing open behind it.

Compared before and after each test are the threads, the file descriptors, and the ZeroMQ sockets
and contexts; of an async test also the tasks of its event loop. What a fixture of a wider scope
opened is there before the test, so it does not count against it.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import itertools
import os
import threading
import time
import traceback
import weakref
from collections.abc import AsyncIterator, Generator, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
import zmq
from hypothesis import settings

# How long an example takes says more of the machine than of what is tried.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

# How long something that is already on its way out may take. Only a test that would fail waits.
GRACE = 1.0

FD_DIR = "/proc/self/fd"


class Register:
    """All objects of a pyzmq class that were not closed, without keeping them alive."""

    def __init__(self, cls: type[Any]) -> None:
        self._serials = itertools.count()
        # A plain dict, as other threads may add while one lists; a WeakSet would raise then.
        self._living: dict[int, weakref.ref[Any]] = {}
        self.dropped: list[str] = []
        create, delete = cls.__init__, cls.__del__

        @functools.wraps(create)
        def __init__(obj: Any, *args: Any, **kwargs: Any) -> None:
            create(obj, *args, **kwargs)
            serial = next(self._serials)
            self._living[serial] = weakref.ref(obj, lambda _: self._living.pop(serial, None))

        @functools.wraps(delete)
        def __del__(obj: Any) -> None:
            if _is_open(obj):
                self.dropped.append(f"{obj!r}, dropped without close()")
            delete(obj)

        cls.__init__, cls.__del__ = __init__, __del__

    def open(self) -> dict[int, Any]:
        """Return the open objects by serial number: an id() may be used again, this is not."""
        living = {serial: ref() for serial, ref in list(self._living.items())}
        return {n: obj for n, obj in living.items() if obj is not None and _is_open(obj)}


def _is_open(obj: Any) -> bool:
    # A shadow is a second view of a socket or context which is registered itself.
    return not obj._shadow and not obj.closed


SOCKETS = Register(zmq.Socket)
CONTEXTS = Register(zmq.Context)


@dataclass(frozen=True)
class Holdings:
    """What the process holds at one moment."""

    threads: frozenset[threading.Thread]
    zmq_objects: dict[Register, frozenset[int]]
    zmq_dropped: dict[Register, int]
    fds: frozenset[tuple[int, str]]

    @classmethod
    def now(cls) -> Holdings:
        return cls(
            frozenset(threading.enumerate()),
            {register: frozenset(register.open()) for register in (SOCKETS, CONTEXTS)},
            {register: len(register.dropped) for register in (SOCKETS, CONTEXTS)},
            open_fds(),
        )

    def leaks(self) -> list[str]:
        """Describe what was opened since, and is still open."""
        threads = self._leaked_threads()
        sockets = self._leaked_zmq_objects(SOCKETS)
        contexts = self._leaked_zmq_objects(CONTEXTS)
        dropped = [
            text for register, n in self.zmq_dropped.items() for text in register.dropped[n:]
        ]
        leaked = [*threads, *map(repr, sockets), *map(repr, contexts), *dropped]
        if not threads:
            # A context waits for its sockets when it is collected, for ever if it goes first. Close
            # them, so that one bad test does not hang the run; a thread might still use them.
            for socket in sockets:
                # Not the asyncio variant's close: that wants its event loop, which is gone.
                zmq.Socket.close(socket, linger=0)
        return leaked + self._leaked_fds(collect=not (threads and sockets))

    def _leaked_zmq_objects(self, register: Register) -> list[Any]:
        before = self.zmq_objects[register]
        return [obj for serial, obj in register.open().items() if serial not in before]

    def _leaked_threads(self) -> list[str]:
        deadline = time.monotonic() + GRACE
        leaked = []
        for thread in frozenset(threading.enumerate()) - self.threads:
            while thread.ident is None and time.monotonic() < deadline:
                time.sleep(0.001)  # listed, but only just about to run: it cannot be joined yet
            if thread.ident is not None:
                thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                leaked.append(f"thread {thread.name!r}{' (daemon)' if thread.daemon else ''}")
        return leaked

    def _leaked_fds(self, collect: bool) -> list[str]:
        new = open_fds() - self.fds
        if new:
            # Collecting takes far longer than most tests, so it is not done to the clean ones.
            if collect:
                gc.collect()
            deadline = time.monotonic() + GRACE
            while (new := open_fds() - self.fds) and time.monotonic() < deadline:
                time.sleep(0.01)
        return [f"file descriptor {fd} -> {target}" for fd, target in sorted(new)]


def open_fds() -> frozenset[tuple[int, str]]:
    """Return the open file descriptors, each with what it points to: numbers are used again.

    Empty, thus unchecked, where the system does not list them in /proc.
    """
    try:
        numbers = os.listdir(FD_DIR)
    except FileNotFoundError:
        return frozenset()
    found = []
    for number in numbers:
        try:
            found.append((int(number), os.readlink(f"{FD_DIR}/{number}")))
        except FileNotFoundError:
            pass  # the one that listdir itself had open
    return frozenset(found)


@pytest.fixture(autouse=True)
def leaves_nothing_open() -> Iterator[None]:
    """Fail a test that leaves a thread, a file descriptor, or anything of ZeroMQ behind.

    Set up before the event loop of an async test and finished after that loop is closed, hence the
    loop's own descriptors, and the threads of its default executor, are gone on both sides.
    """
    before = Holdings.now()
    yield
    if leaks := before.leaks():
        pytest.fail("left behind: " + "; ".join(leaks), pytrace=False)


@pytest.fixture(autouse=True)
def leaves_no_task(request: pytest.FixtureRequest, leaves_nothing_open: None) -> None:
    """Fail an async test that leaves a task behind: seen before the closing loop cancels them."""
    # Asked for here, before the test's own fixtures, so that those are finished when it looks.
    # A loop of a wider scope may well have tasks that outlive one test.
    if pytest_asyncio.is_async_test(request.node) and _loop_is_of_this_test(request.node):
        request.getfixturevalue("watched_tasks")


@pytest_asyncio.fixture(loop_scope="function")
async def watched_tasks() -> AsyncIterator[None]:
    yield
    # A task that was cancelled just now needs a turn or two of the loop to end.
    for _ in range(5):
        if len(asyncio.all_tasks()) == 1:
            return
        await asyncio.sleep(0)
    left = asyncio.all_tasks() - {asyncio.current_task()}
    if left:
        pytest.fail("left behind: " + "; ".join(sorted(map(repr, left))), pytrace=False)


SESSION = os.getpid()


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call() -> Generator[None, object, object]:
    """End a forked child that leaves its test: it must not run the other tests a second time.

    It would hang, moreover: the thread that faulthandler waits for after the test is not in it.
    """
    try:
        return (yield)
    except BaseException:
        if os.getpid() != SESSION:
            traceback.print_exc()
        raise
    finally:
        if os.getpid() != SESSION:
            os._exit(1)


def _loop_is_of_this_test(item: pytest.Item) -> bool:
    marker = item.get_closest_marker("asyncio")
    return marker is None or marker.kwargs.get("loop_scope", "function") == "function"
