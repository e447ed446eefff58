"""The blocking replica: mutations that block, reads and waits that are the replica's own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from amzmq.blocking.view import ReplicaView
from amzmq.machine import Result
from amzmq.machine.args import Args
from amzmq.machine.event import HasSource
from amzmq.machine.tracer import Tracer
from amzmq.rpc.payload import Payload
from amzmq.rpc.replica.event import ReplicaTransition
from amzmq.rpc.replica.netmach import NetworkMachine as AioReplica


class NetworkMachine(ReplicaView):
    """A live replica of a machine, for threads; made by a blocking `Client`.

    A mutation blocks until its effect is in the replica, so whoever made it reads it. `timeout`
    is always this call's own, in seconds; the client's `call_timeout` and its retries hold
    without one. A mutation's argument of that name is passed as ``args={"timeout": 1}``.

    Handlers, tracers and callbacks run on the loop thread, which blocks for nobody: there a
    mutation raises `BlockingWait`; use `add_ns`, the event's own ``e.machine``, or a thread.

    >>> def ring(door: NetworkMachine) -> bool:
    ...     door.add("Bell", by="visitor", timeout=5)
    ...     return door.when("Open").wait(60)
    """

    # Mutations: remote.

    def add(
        self,
        *states: str,
        args: Args | None = None,
        event: HasSource | None = None,
        timeout: float | None = None,
        **kwargs: object,
    ) -> Result:
        """Activate states at the source and wait for the result.

        Raises:
            StateUnknown: A name is not a state of the machine; nothing is sent.
            InvalidArgs: An argument has no form on the wire.
            NotConnected: There is no source at this moment, or the client was stopped.
            OutcomeUnknown: The source was restarted meanwhile.
            CallTimeout: No answer came, after all retries; `TimedOut` if not within `timeout`.
            BlockingWait: This thread runs an event loop.
        """
        return self._mutate(
            "add()", timeout, lambda: self._aio.add(*states, args=args, event=event, **kwargs)
        )

    def remove(
        self,
        *states: str,
        args: Args | None = None,
        event: HasSource | None = None,
        timeout: float | None = None,
        **kwargs: object,
    ) -> Result:
        """Deactivate states at the source; see `add`."""
        return self._mutate(
            "remove()", timeout, lambda: self._aio.remove(*states, args=args, event=event, **kwargs)
        )

    def set(
        self,
        *states: str,
        args: Args | None = None,
        event: HasSource | None = None,
        timeout: float | None = None,
        **kwargs: object,
    ) -> Result:
        """Activate exactly these states at the source; see `add`."""
        return self._mutate(
            "set()", timeout, lambda: self._aio.set(*states, args=args, event=event, **kwargs)
        )

    def toggle(
        self,
        *states: str,
        args: Args | None = None,
        event: HasSource | None = None,
        timeout: float | None = None,
        **kwargs: object,
    ) -> Result:
        """Remove the states if all are active here, add them otherwise; see `add`."""
        return self._mutate(
            "toggle()", timeout, lambda: self._aio.toggle(*states, args=args, event=event, **kwargs)
        )

    def add_ns(
        self,
        *states: str,
        args: Args | None = None,
        event: HasSource | None = None,
        **kwargs: object,
    ) -> Result:
        """Activate states without waiting for a reply; see `Client.sync`.

        Handlers on the loop thread may call it.

        Returns:
            EXECUTED once it is handed to the connection, CANCELED when there is none.
        """
        return self._line.call(
            "add_ns()", lambda: self._aio.add_ns(*states, args=args, event=event, **kwargs)
        )

    def add_err(
        self,
        err: BaseException,
        *,
        args: Args | None = None,
        event: HasSource | None = None,
        timeout: float | None = None,
    ) -> Result:
        """Add an error to the source; its type, text and traceback travel. See `add`."""
        return self._mutate(
            "add_err()", timeout, lambda: self._aio.add_err(err, args=args, event=event)
        )

    def add_err_state(
        self,
        state: str,
        err: BaseException,
        *,
        args: Args | None = None,
        event: HasSource | None = None,
        timeout: float | None = None,
    ) -> Result:
        """Activate an error state and Exception at the source with an error; see `add`."""
        return self._mutate(
            "add_err_state()",
            timeout,
            lambda: self._aio.add_err_state(state, err, args=args, event=event),
        )

    def _mutate(
        self, what: str, timeout: float | None, start: Callable[[], Awaitable[Result]]
    ) -> Result:
        return self._line.run(what, start, timeout)

    # Checks that the relations alone can answer.

    def can_add(self, *states: str) -> Result:
        """Whether the relations would accept `add` now; handlers of the source are not asked."""
        return self._aio.can_add(*states)

    def can_remove(self, *states: str) -> Result:
        """Whether the relations would accept `remove` now; see `can_add`."""
        return self._aio.can_remove(*states)

    def transition(self) -> ReplicaTransition | None:
        """The update being applied; None outside of one."""
        return self._aio.transition()

    # Handlers and tracers: bound and called on the loop thread.

    def bind(self, handlers: object, id: str = "") -> str:
        """Bind final handlers (FooState, FooEnd, AnyState); called on the loop thread.

        Raises:
            BindError: Not bindable, or negotiation handlers: those run at the source only.
        """
        return self._line.call("bind()", lambda: self._aio.bind(handlers, id))

    def detach(self, id: str) -> None:
        """Undo a `bind`.

        Raises:
            BindError: Nothing is bound under this id.
        """
        self._line.call("detach()", lambda: self._aio.detach(id))

    def handlers(self) -> list[str]:
        """Ids of the bindings, in bind order."""
        return self._aio.handlers()

    def bind_tracer(self, tracer: Tracer) -> str:
        """Bind a tracer; told on the loop thread, and must not mutate.

        Raises:
            BindError: Not a `Tracer`, or one without an id.
        """
        return self._line.call("bind_tracer()", lambda: self._aio.bind_tracer(tracer))

    def add_breakpoint(self, added: Iterable[str] = (), removed: Iterable[str] = ()) -> None:
        """Log a line when an update activates all of `added` and deactivates all of `removed`.

        Raises:
            StateUnknown: A name is not a state of this machine.
        """
        self._line.call("add_breakpoint()", lambda: self._aio.add_breakpoint(added, removed))

    def detach_tracer(self, id: str) -> None:
        """Detach the tracers of this id.

        Raises:
            BindError: No tracer has it.
        """
        self._line.call("detach_tracer()", lambda: self._aio.detach_tracer(id))

    def tracers(self) -> list[Tracer]:
        """The bound tracers, in bind order."""
        return self._aio.tracers()

    def on_payload(self, callback: Callable[[AioReplica, Payload], None]) -> None:
        """Call `callback(replica, payload)` on the loop thread for each payload for everybody."""
        self._line.call("on_payload()", lambda: self._aio.on_payload(callback))

    def off_payload(self, callback: Callable[[AioReplica, Payload], None]) -> None:
        """Undo `on_payload`."""
        self._line.call("off_payload()", lambda: self._aio.off_payload(callback))

    # The end.

    def on_dispose(self, callback: Callable[[], None]) -> None:
        """Call `callback` on the loop thread when the replica is disposed."""
        self._line.call("on_dispose()", lambda: self._aio.on_dispose(callback))

    def dispose(self) -> None:
        """Let go of the replica: waits are released, reads are empty. The source lives on."""
        self._line.call("dispose()", self._aio.dispose)
