"""The handlers that pipes are made of; also to be bound by hand."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from amzmq.errors import InvalidArgs, StateUnknown
from amzmq.machine import EXCEPTION, HasSource, MutationType
from amzmq.machine.api import Api
from amzmq.pipes.outbox import FAILED_PIPES, Delivery, outbox_of

_ERR = "Err"
_keys = itertools.count(1)


class PipeEvent(HasSource, Protocol):
    """The event of a final handler, of a machine or of a replica."""

    args: Mapping[str, object]


PipeHandler = Callable[[PipeEvent], None]
"""A final handler that pipes; bind it as ``FooState``, ``FooEnd`` or ``AnyState``."""


def add(source: Api, target: Api, state: str, target_state: str = "") -> PipeHandler:
    """A handler that adds a state to the target, with the arguments of the source's event.

    Every activation arrives, also one that changes nothing. A state whose name begins with
    ``Err`` is added together with Exception, and the error, if the event has one, becomes the
    target's own (`add_err_state`).

    Args:
        source: The machine the handler is for.
        target: The machine it mutates.
        state: The source's state.
        target_state: The target's state; the same name when empty.

    Raises:
        InvalidArgs: `state` is empty.
        StateUnknown: One of the machines does not have its state.
    """
    return Carry(source, target, MutationType.ADD, state, target_state)


def add_flat(source: Api, target: Api, state: str, target_state: str = "") -> PipeHandler:
    """A handler that adds a state without arguments, unless it is active; see `add`.

    A local target is mutated at once, within the source's transition.
    """
    return Carry(source, target, MutationType.ADD, state, target_state, flat=True)


def remove(source: Api, target: Api, state: str, target_state: str = "") -> PipeHandler:
    """A handler that removes a state from the target, with the event's arguments; see `add`."""
    return Carry(source, target, MutationType.REMOVE, state, target_state)


def remove_flat(source: Api, target: Api, state: str, target_state: str = "") -> PipeHandler:
    """A handler that removes a state without arguments, if it is active; see `add_flat`."""
    return Carry(source, target, MutationType.REMOVE, state, target_state, flat=True)


class Carry:
    """The handler of one state.

    Attributes:
        source, target: The machines.
        kind: What is done to the target.
        state: The source's state.
        target_state: The target's.
    """

    __slots__ = (
        "_called", "_flat", "_key", "_outbox", "kind", "source", "state", "target", "target_state"
    )  # fmt: skip

    def __init__(
        self,
        source: Api,
        target: Api,
        kind: MutationType,
        state: str,
        target_state: str,
        flat: bool = False,
    ) -> None:
        if not state:
            raise InvalidArgs(f"a pipe from {source.id} to {target.id}: the state is empty")
        self.source = source
        self.target = target
        self.kind = kind
        self.state = state
        self.target_state = target_state or state
        require_states(source, (self.state,))
        require_states(target, (self.target_state,))
        is_error = kind is MutationType.ADD and self.target_state.startswith(_ERR)
        self._called = (EXCEPTION, self.target_state) if is_error else (self.target_state,)
        self._flat = flat
        self._key = next(_keys)
        self._outbox = outbox_of(source)

    def __call__(self, event: PipeEvent) -> None:
        """Carry one event."""
        failures = _failures(event)
        if self._key in failures:
            return
        args = None if self._flat else event.args
        delivery = Delivery(
            self._key,
            self.source,
            self.target,
            self.kind,
            self._called,
            args,
            event.source(),
            failures,
        )
        if not self._flat:
            self._outbox.post(delivery)
        elif self.target.is_(self.target_state) is (self.kind is MutationType.REMOVE):
            self._outbox.deliver_flat(delivery)


class Mirror:
    """The ``AnyState`` handler of `bind_any`.

    Args:
        source: The machine to follow.
        target: The machine that is set to its active states.
    """

    __slots__ = ("_key", "_outbox", "source", "target")

    def __init__(self, source: Api, target: Api) -> None:
        require_states(target, source.state_names)
        self.source = source
        self.target = target
        self._key = next(_keys)
        self._outbox = outbox_of(source)

    def __call__(self, event: PipeEvent) -> None:
        """Carry what is active now."""
        # After the commit, the active states are the transition's target states.
        active = tuple(self.source.active_states())
        failures = _failures(event)
        if self.target.is_(*active) or self._key in failures:
            return
        delivery = Delivery(
            self._key,
            self.source,
            self.target,
            MutationType.SET,
            active,
            event.args,
            event.source(),
            failures,
        )
        self._outbox.deliver_flat(delivery)


def _failures(event: PipeEvent) -> tuple[int, ...]:
    """Keys of the pipes whose failures led to an event: these would only fail again."""
    failures = event.args.get(FAILED_PIPES, ())
    return tuple(failures) if isinstance(failures, (tuple, list)) else ()


def require_states(machine: Api, states: Iterable[str]) -> None:
    """Refuse names that a machine does not have; a disposed one has none."""
    unknown = tuple(state for state in states if not machine.has(state))
    if unknown and not machine.is_disposed:
        raise StateUnknown(unknown, machine.id, machine.state_names)
