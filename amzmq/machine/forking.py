"""Running what should not hold up a machine, owned by it all the same (spec machine 5.8)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from amzmq.machine.event import Event
from amzmq.machine.wait import Wait
from amzmq.machine.watching import Watching


class Forking(Watching):
    """The part of a `Machine` that forks.

    A sync function runs on a thread of its own, a coroutine function as a task on the running
    event loop. What it raises becomes `add_err`. When the machine is disposed, tasks are
    cancelled, functions that have not started yet are not run, and `when_disposed` comes after
    the last one has ended: a long function should look at its context, or at `is_disposing`.
    """

    __slots__ = ()

    def fork(self, event: Event, function: Callable[[], Any], *, ctx: Wait | None = None) -> bool:
        """Run a function beside the handlers, if the event of the calling handler is valid.

        Args:
            event: That event; also the source of the error, should the function raise.
            function: What is run, sync or async.
            ctx: A state context or any wait: once it is done nothing is started, and a task is
                cancelled.

        Returns:
            Whether it was started.

        Raises:
            InvalidArgs: The function is async and no event loop runs here.
        """
        if not event.is_valid():
            return False
        return self._own_forks().launch(function, f"{event.name}.fork", ctx=ctx, event=event)

    def go(self, function: Callable[[], Any], *, ctx: Wait | None = None) -> bool:
        """Run a function beside the machine; see `fork`."""
        return self._own_forks().launch(function, "go", ctx=ctx)

    def go_after(
        self, delay: float, function: Callable[[], Any], *, ctx: Wait | None = None
    ) -> bool:
        """The same after `delay` seconds, unless `ctx` is done by then."""
        return self._own_forks().launch(function, "go_after", delay=delay, ctx=ctx)

    def pool_fork(
        self, event: Event, function: Callable[[], Any], *, ctx: Wait | None = None
    ) -> bool:
        """Like `fork`, within the limits of `pool_set_limit` and `pool_set_limit_global`.

        Returns:
            Whether it was started: not while as many run as the limits allow.
        """
        forks = self._own_forks()
        name = event.name
        if not event.is_valid() or not forks.take_place(name):
            return False
        started = False
        try:
            started = forks.launch(
                function, f"{name}.pool", ctx=ctx, event=event, ended=lambda: forks.give_place(name)
            )
        finally:
            if not started:
                forks.give_place(name)
        return started

    def pool_set_limit(self, handler: str, limit: int | None) -> None:
        """How many forks of one handler, e.g. ``FooState``, may run at once; None for any."""
        limits = self._own_forks().limits
        if limit is None:
            limits.pop(handler, None)
        else:
            limits[handler] = limit

    def pool_set_limit_global(self, limit: int | None) -> None:
        """How many forks of all handlers may run at once; None for any number."""
        self._own_forks().limit = limit
