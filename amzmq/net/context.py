"""One ZeroMQ context a process, shared by most transports and ended with the last of them.

A context owns an I/O thread and a handful of file descriptors, so each transport having its
own would be waste, and a context that outlives its last user is a leak. Ending it can block
until all sockets have lingered, which is why it happens on a thread of its own.

A transport that asks who its peers are has a context to itself: a context has one place only to
ask (`amzmq.net.zap`), which is served by one event loop and knows one set of keys.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from typing import TypeAlias

import zmq

from amzmq.errors import ForkedError
from amzmq.net.log import log

ZmqContext: TypeAlias = "zmq.Context[zmq.Socket[bytes]]"


class _Shared:
    """The context of this process, if anybody uses it now."""

    __slots__ = ("context", "forks", "lock", "pid", "users")

    def __init__(self, forks: int = 0) -> None:
        self.lock = threading.Lock()
        self.context: ZmqContext | None = None
        self.users = 0
        self.pid = os.getpid()
        # Compared on every send: an integer is four times cheaper than asking for the pid.
        self.forks = forks


_shared = _Shared()


def _forget_the_parents() -> None:
    """In a forked child: the context and even the lock belong to threads that are not here."""
    global _shared
    _shared = _Shared(_shared.forks + 1)


os.register_at_fork(after_in_child=_forget_the_parents)


class ContextLease:
    """The right of one transport to use a context until it is released."""

    __slots__ = ("_alone", "_forks", "_released", "context")

    def __init__(self, context: ZmqContext, forks: int, alone: bool) -> None:
        self.context = context
        self._forks = forks
        self._alone = alone
        self._released = False

    @property
    def forked(self) -> bool:
        """Whether this process is a child of the one that acquired the lease."""
        return self._forks != _shared.forks

    def check(self, component: str) -> None:
        """Raises `ForkedError` naming `component` in a forked child."""
        if self._forks != _shared.forks:
            raise ForkedError(component)

    async def release(self, limit_s: float) -> None:
        """Gives the context back; the last one waits until it has ended, at most `limit_s`.

        All sockets made from the lease must be closed. Releasing again does nothing.
        """
        shared = _shared
        if self._released or self.forked:
            return
        self._released = True
        if not self._alone:
            with shared.lock:
                shared.users -= 1
                if shared.users:
                    return
                shared.context = None
        await _terminate(self.context, limit_s)


def acquire_context(alone: bool = False) -> ContextLease:
    """Leases the process's context, which is created for the first user, or a new one `alone`."""
    shared = _shared
    if shared.pid != os.getpid():
        # A fork that bypassed Python's hooks, in a C extension for instance.
        _forget_the_parents()
        shared = _shared
    if alone:
        return ContextLease(zmq.Context(), shared.forks, alone=True)
    with shared.lock:
        if shared.context is None:
            shared.context = zmq.Context()
        shared.users += 1
        return ContextLease(shared.context, shared.forks, alone=False)


async def _terminate(context: ZmqContext, limit_s: float) -> None:
    """Ends the context on a thread that nobody has to join."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def run() -> None:
        context.term()
        # The loop may be closed by now when its owner did not wait for us.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=run, name="amzmq-net-term", daemon=True).start()
    try:
        async with asyncio.timeout(limit_s):
            await ended.wait()
    except TimeoutError:
        log.warning("the ZeroMQ context did not end within %.1f s; it is left behind", limit_s)
