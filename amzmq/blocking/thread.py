"""The event loop of a program without asyncio: one background thread while anybody uses it.

All twins of a process share it, so that handlers, which run on it, may touch any of them, and
so that one replica may be served on. It begins with the first user and ends with the last.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading

_log = logging.getLogger("amzmq.blocking")

JOIN_WAIT = 10.0
"""Seconds that the last user waits for the thread to end; it has nothing left to do by then."""


class LoopThread:
    """A thread that runs an event loop until it is ended.

    Attributes:
        loop: The loop; `call_soon_threadsafe` may be used at once.
        users: Who needs it still; guarded by the lock of `acquire_thread`.
    """

    __slots__ = ("_ended", "_thread", "loop", "users")

    def __init__(self) -> None:
        self.users = 0
        self.loop = asyncio.new_event_loop()
        self._ended = False
        # A daemon, so that a program that forgets to stop a twin can end all the same.
        self._thread = threading.Thread(target=self._run, name="amzmq-blocking", daemon=True)
        try:
            self._thread.start()
        except BaseException:
            self.loop.close()
            raise

    def end(self) -> None:
        """End the loop and wait for the thread, unless this is it."""
        self.loop.call_soon_threadsafe(self._end)
        if threading.current_thread() is self._thread:
            return
        self._thread.join(JOIN_WAIT)
        if self._thread.is_alive():
            _log.error("the loop thread did not end within %g s; a handler blocks it?", JOIN_WAIT)

    def _end(self) -> None:
        self._ended = True
        self.loop.stop()

    def _run(self) -> None:
        # The runner cancels what is left, and ends the threads that resolve names.
        with asyncio.Runner(loop_factory=lambda: self.loop) as runner:
            loop = runner.get_loop()
            while not self._ended:
                try:
                    loop.run_forever()
                except (SystemExit, KeyboardInterrupt) as error:
                    # asyncio lets these two through. They are meant for the thread of a program;
                    # ending this one would leave the others waiting for answers.
                    _log.error("%r in a handler or a callback: the loop thread goes on", error)


class _Shared:
    """The thread of this process, if anybody uses it now."""

    __slots__ = ("lock", "thread")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.thread: LoopThread | None = None


_shared = _Shared()


def _forget_the_parents() -> None:
    """In a forked child: the thread, and even the lock, belong to a process that is not here."""
    global _shared
    _shared = _Shared()


os.register_at_fork(after_in_child=_forget_the_parents)


def acquire_thread() -> LoopThread:
    """Use the process's thread, which is started for the first user; give it back after."""
    shared = _shared
    with shared.lock:
        if shared.thread is None:
            shared.thread = LoopThread()
        shared.thread.users += 1
        return shared.thread


def release_thread(thread: LoopThread) -> None:
    """Give it back; with its last user it ends."""
    shared = _shared
    with shared.lock:
        thread.users -= 1
        if thread.users:
            return
        shared.thread = None
    thread.end()
