"""Binding pipes, and taking them off again."""

from __future__ import annotations

import itertools
import re
import threading
from collections.abc import Mapping, Sequence
from weakref import WeakSet

from amzmq.errors import BindError, InvalidArgs
from amzmq.machine import EXCEPTION, LogLevel, Machine, MutationType
from amzmq.machine.api import Api
from amzmq.pipes.handlers import Carry, Mirror, PipeHandler, add, remove, require_states
from amzmq.pipes.outbox import Delivery, outbox_of

_ID_STRIP = re.compile(r"[^A-Za-z0-9\-_.]+")
_guard = threading.Lock()


class Pipe:
    """Handlers of pipes on a source, until `unbind`, or until either machine is disposed.

    What the source did before is still carried. A client that finds its source restarted with
    another schema gets another replica: that is the end of the old one, and of its pipes.

    Attributes:
        id: Of the binding on the source; with a number at its end if it was taken.
        source, target: The two machines.
    """

    __slots__ = ("__weakref__", "_bound", "id", "source", "target")

    def __init__(
        self, source: Api, target: Api, id: str, handlers: Mapping[str, PipeHandler]
    ) -> None:
        self.source = source
        self.target = target
        self.id = source.bind(handlers, _free_id(source, id))
        # A machine that is being disposed binds nothing, and gives no id.
        self._bound = bool(self.id)
        if not self._bound:
            return
        for handler in handlers.values():
            if isinstance(handler, Carry):
                _note(source, f"[pipe-out:{handler.kind}] {handler.state} to {target.id}")
                _note(target, f"[pipe-in:{handler.kind}] {handler.target_state} from {source.id}")
        with _guard:
            _pipes.add(self)
        # Not `on_dispose`: that cannot be taken back.
        source.when_disposed().add_done_callback(self._disposed)
        target.when_disposed().add_done_callback(self._disposed)
        if not self._bound:  # one of them was disposed already
            self._forget_ends()

    @property
    def is_bound(self) -> bool:
        """Whether it carries."""
        return self._bound

    def unbind(self) -> None:
        """Take the handlers off the source, and what watches for the end of both machines."""
        with _guard:
            if not self._bound:
                return
            self._bound = False
            _pipes.discard(self)
        self._forget_ends()
        try:
            self.source.detach(self.id)
        except BindError:
            pass  # disposed, or detached by its id before

    def _forget_ends(self) -> None:
        for machine in (self.source, self.target):
            machine.when_disposed().remove_done_callback(self._disposed)

    def _disposed(self) -> None:
        for machine, other in ((self.source, self.target), (self.target, self.source)):
            if not machine.is_disposed:
                _note(machine, f"[pipe:gc] {other.id}")
        self.unbind()

    def __repr__(self) -> str:
        bound = "" if self._bound else " unbound"
        return f"<Pipe {self.id} from {self.source.id} to {self.target.id}{bound}>"


# A pipe lives as long as one of its machines, whose end it waits for.
_pipes: WeakSet[Pipe] = WeakSet()


def pipes_of(machine: Api) -> list[Pipe]:
    """The pipes that begin or end at a machine, by their ids."""
    with _guard:
        found = [pipe for pipe in _pipes if machine is pipe.source or machine is pipe.target]
    return sorted(found, key=lambda pipe: pipe.id)


def bind(source: Api, target: Api, state: str, active: str = "", inactive: str = "") -> Pipe:
    """Add a state to the target when one of the source is entered, and remove it when left.

    Args:
        source: The machine to follow.
        target: The machine to mutate.
        state: The source's state.
        active: What is added to the target; `state` when empty.
        inactive: What is removed from the target; `active` when empty.

    Raises:
        InvalidArgs: `state` is empty.
        StateUnknown: One of the machines does not have its state.
    """
    handlers = _both_ways(source, target, state, active, inactive)
    return Pipe(source, target, f"Bind-{state}-{target.id}", handlers)


def bind_many(
    source: Api, target: Api, states: Sequence[str], targets: Sequence[str] | None = None
) -> Pipe:
    """`bind` several states, each to the target's at the same place; the same names without.

    Raises:
        InvalidArgs: There are not as many targets as states, or a state is there twice.
        StateUnknown: One of the machines does not have its state.
    """
    handlers: dict[str, PipeHandler] = {}
    pairs = _pairs("bind_many", states, targets)
    if len(dict(pairs)) != len(pairs):
        raise InvalidArgs(f"bind_many: a state is there twice in {states}; bind it once more")
    for state, other in pairs:
        handlers |= _both_ways(source, target, state, other)
    return Pipe(source, target, f"BindMany-{len(pairs)}-{target.id}", handlers)


def bind_err(source: Api, target: Api, target_state: str = "") -> Pipe:
    """Carry errors: an Exception of the source becomes one of the target, never removed there.

    Args:
        source: Where errors come from.
        target: Where they go.
        target_state: The target's state; Exception when empty. One whose name begins with
            ``Err`` is added together with Exception.

    Raises:
        StateUnknown: The target does not have the state.
    """
    handler = add(source, target, EXCEPTION, target_state)
    return Pipe(source, target, f"BindErr-{target.id}", {f"{EXCEPTION}State": handler})


def bind_start(source: Api, target: Api, active: str = "", inactive: str = "") -> Pipe:
    """`bind` the state Start."""
    return bind(source, target, "Start", active, inactive)


def bind_ready(source: Api, target: Api, active: str = "", inactive: str = "") -> Pipe:
    """`bind` the state Ready."""
    return bind(source, target, "Ready", active, inactive)


def bind_connected(
    source: Api,
    target: Api,
    disconnected: str = "",
    connecting: str = "",
    connected: str = "",
    disconnecting: str = "",
) -> Pipe:
    """`bind` the four states of a connection, each to the state given; an empty one is not.

    Raises:
        InvalidArgs: None is given.
        StateUnknown: One of the machines does not have its state.
    """
    given = {
        "Disconnected": disconnected,
        "Connecting": connecting,
        "Connected": connected,
        "Disconnecting": disconnecting,
    }
    handlers: dict[str, PipeHandler] = {}
    for state, other in given.items():
        if other:
            handlers |= _both_ways(source, target, state, other)
    if not handlers:
        raise InvalidArgs("bind_connected: give a state of the target, e.g. connected='Online'")
    return Pipe(source, target, f"BindConnected-{target.id}", handlers)


def bind_any(source: Api, target: Api) -> Pipe:
    """Set the target to the source's active states, after each transition of the source.

    A local target is mutated within the source's transition. Two quirks of the reference: while
    the target has all of the source's active states nothing is done, so a mere removal is not
    carried; and when something is done, states that only the target has active are left.

    Raises:
        StateUnknown: The target lacks a state of the source.
    """
    return Pipe(source, target, f"BindAny-{target.id}", {"AnyState": Mirror(source, target)})


def sync(
    source: Api, target: Api, states: Sequence[str], targets: Sequence[str] | None = None
) -> int:
    """Make states of the target as those of the source are now: once, e.g. beside a `bind_many`.

    One add of the active ones, one remove of the inactive ones; failures go where those of a
    pipe go.

    Args:
        source: The machine to read.
        target: The machine to mutate.
        states: States of the source.
        targets: The target's state for each of them; the same names if None.

    Returns:
        The number of states.

    Raises:
        InvalidArgs: There are not as many targets as states.
        StateUnknown: One of the machines does not have its state.
    """
    pairs = _pairs("sync", states, targets)
    require_states(source, states)
    require_states(target, [other for _, other in pairs])
    outbox = outbox_of(source)
    active = tuple(other for state, other in pairs if source.is_(state))
    inactive = tuple(other for state, other in pairs if not source.is_(state))
    if active:
        outbox.deliver(Delivery(0, source, target, MutationType.ADD, active))
    if inactive:
        outbox.deliver(Delivery(0, source, target, MutationType.REMOVE, inactive))
    return len(pairs)


def _pairs(
    caller: str, states: Sequence[str], targets: Sequence[str] | None
) -> list[tuple[str, str]]:
    targets = states if targets is None else targets
    if isinstance(states, str) or isinstance(targets, str):
        raise InvalidArgs(f"{caller}: states={states!r}, targets={targets!r}: give lists of names")
    if len(states) != len(targets):
        raise InvalidArgs(f"{caller}: {len(states)} states, but {len(targets)} targets: {targets}")
    return list(zip(states, targets, strict=True))


def _both_ways(
    source: Api, target: Api, state: str, active: str, inactive: str = ""
) -> dict[str, PipeHandler]:
    return {
        f"{state}State": add(source, target, state, active),
        f"{state}End": remove(source, target, state, inactive or active),
    }


def _free_id(source: Api, id: str) -> str:
    """The id, or with the first free number: one pipe may be bound more than once."""
    clean = _ID_STRIP.sub("", id)
    taken = source.handlers()
    numbered = (f"{clean}-{number}" for number in itertools.count(2))
    return clean if clean not in taken else next(id for id in numbered if id not in taken)


def _note(machine: Api, text: str) -> None:
    """A line in the log of a machine (spec machine 9.8); a replica has none."""
    if isinstance(machine, Machine):
        machine._write_log(LogLevel.OPS, text)
