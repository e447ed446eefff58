"""Handlers: found by name once, when they are bound (spec machine 5).

For states X and Y a handler is called ``XEnter``, ``XExit``, ``XX``, ``XY`` (negotiation: False
is a veto), ``XState``, ``XEnd`` (final), ``AnyEnter`` or ``AnyState``. The registry turns each
bound name into what calls it, so that a transition looks up a program and never builds a name.
"""

from __future__ import annotations

import asyncio
import inspect
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

from amzmq.errors import BindError
from amzmq.machine.compiled import CompiledSchema
from amzmq.machine.plans import Outcome, Plan
from amzmq.machine.resolver import MutationType

Handler: TypeAlias = Callable[[Any], Any]
"""A handler takes the Event. It is called with whatever Event class the machine has."""

ANY_ENTER = "AnyEnter"
ANY_STATE = "AnyState"
_FINAL_SUFFIXES = ("State", "End")
_ID_STRIP = re.compile(r"[^A-Za-z0-9\-_.]+")

Wrap: TypeAlias = Callable[[Handler], Handler]
"""Makes what is called instead of a sync handler."""

PROGRAM_LIMIT = 1024
"""Programs kept for one set of bindings; one takes a few hundred bytes."""


class Call(NamedTuple):
    """One bound function of one event.

    Attributes:
        binding: The id of the binding it belongs to.
        number: The number of that binding.
        function: What to call.
        loop: Where to run it as a task, if it is a coroutine function.
    """

    binding: str
    number: int
    function: Handler
    loop: asyncio.AbstractEventLoop | None


class Bound(NamedTuple):
    """All that is bound to one event name, in bind order.

    Attributes:
        name: The event, e.g. ``OpenState``.
        calls: The functions.
        may_veto: Whether a returned False counts; never for names that end like a final one,
            even of a cross handler (a quirk of the reference, spec machine 5.1).
    """

    name: str
    calls: tuple[Call, ...]
    may_veto: bool


class Finish(NamedTuple):
    """A final event: what is bound to it, and its state; None for ``AnyState``."""

    bound: Bound
    state: int | None


class Program(NamedTuple):
    """What a plan calls, in order: the negotiation, and the final handlers.

    For an auto mutation `ask` only tells whether anything may object: who is asked depends on
    the answers.
    """

    ask: tuple[Bound, ...]
    finish: tuple[Finish, ...]


class Binding(NamedTuple):
    """One call of `bind`."""

    number: int
    id: str
    functions: Mapping[str, Handler]
    loop: asyncio.AbstractEventLoop | None


class Handlers:
    """The handlers of one machine; immutable, as a transition may bind further ones.

    Args:
        schema: Where the states come from.
        bindings: What is bound.
        count: How many bindings there ever were.
        wrap: Applied to each sync handler.
        every: Whether there is an entry for every event and binding, handled or not: for a log
            of everything. `unhandled` is what such an entry calls.

    Attributes:
        count: How many bindings there ever were; the number of the next one.
        enter, exit, self_, state, end: What is bound to ``XEnter`` and so on, by state index.
        cross: What is bound to ``XY``, by the pair of indexes.
        any_enter, any_state: What is bound to the two global events.
        programs: What each plan calls; see `program`.
    """

    __slots__ = (
        "_bindings",
        "_every",
        "_schema",
        "_wrap",
        "any_enter",
        "any_state",
        "count",
        "cross",
        "end",
        "enter",
        "exit",
        "programs",
        "self_",
        "state",
    )

    def __init__(
        self,
        schema: CompiledSchema,
        bindings: tuple[Binding, ...] = (),
        count: int = 0,
        wrap: Wrap | None = None,
        every: bool = False,
    ) -> None:
        self._schema = schema
        self._bindings = bindings
        self._wrap = wrap
        self._every = every
        self.count = count
        self.programs: dict[Plan, Program] = {}
        self._index()

    def ids(self) -> list[str]:
        """Ids of the bindings, in bind order."""
        return [binding.id for binding in self._bindings]

    def bind(self, handlers: object, id: str = "", state_prefix: str = "") -> tuple[Handlers, str]:
        """With the methods of an object, or a mapping from event name to function; and the id.

        Raises:
            BindError: Not bindable, an id taken, or an async handler where none can be.
        """
        functions = dict(_functions(self._schema, handlers, state_prefix))
        clean = _ID_STRIP.sub("", id) or f"anon-{secrets.token_hex(2)}"
        if clean in self.ids():
            raise BindError(f"handlers id={clean!r} is bound already; detach it or choose another")
        binding = Binding(self.count, clean, functions, _loop_for(functions))
        bindings = (*self._bindings, binding)
        return Handlers(self._schema, bindings, self.count + 1, self._wrap, self._every), clean

    def detach(self, id: str) -> Handlers:
        """Without one binding.

        Raises:
            BindError: Nothing is bound under this id.
        """
        kept = tuple(binding for binding in self._bindings if binding.id != id)
        if len(kept) == len(self._bindings):
            raise BindError(f"handlers not bound: id={id!r}; bound are: {self.ids()}")
        return Handlers(self._schema, kept, self.count, self._wrap, self._every)

    def adopt(self, schema: CompiledSchema) -> Handlers:
        """The same bindings for another schema."""
        return Handlers(schema, self._bindings, self.count, self._wrap, self._every)

    def for_log(self, every: bool) -> Handlers:
        """The same bindings, with or without entries for what nobody handles."""
        return Handlers(self._schema, self._bindings, self.count, self._wrap, every)

    def _index(self) -> None:
        """Build the look-up tables from the bindings."""
        self.enter: dict[int, Bound] = {}
        self.exit: dict[int, Bound] = {}
        self.self_: dict[int, Bound] = {}
        self.state: dict[int, Bound] = {}
        self.end: dict[int, Bound] = {}
        self.cross: dict[tuple[int, int], Bound] = {}
        self.any_enter: Bound | None = None
        self.any_state: Bound | None = None
        names = [name for binding in self._bindings for name in binding.functions]
        if self._every and self._bindings:
            names += event_names(self._schema)
        for name in dict.fromkeys(names):
            calls = (self._call(binding, name) for binding in self._bindings)
            present = tuple(call for call in calls if call is not None)
            bound = Bound(name, present, not name.endswith(_FINAL_SUFFIXES))
            for role, states in roles(self._schema, name):
                if not states:
                    setattr(self, role, bound)
                elif role == "cross":
                    self.cross[states[0], states[1]] = bound
                else:
                    getattr(self, role)[states[0]] = bound

    def _call(self, binding: Binding, name: str) -> Call | None:
        """What a binding has for an event."""
        function = binding.functions.get(name)
        if function is None:
            return Call(binding.id, binding.number, unhandled, None) if self._every else None
        if _is_async(function):
            return Call(binding.id, binding.number, function, binding.loop)
        if self._wrap is not None:
            function = self._wrap(function)
        return Call(binding.id, binding.number, function, None)

    # Programs.

    def program(self, plan: Plan) -> Program:
        """What a plan calls, put together; look into `programs` first."""
        if len(self.programs) >= PROGRAM_LIMIT:
            self.programs.clear()
        program = self.programs[plan] = Program(self._asked(plan), self.finals(plan.outcome))
        return program

    def _asked(self, plan: Plan) -> tuple[Bound, ...]:
        """The negotiation events in order (spec machine 4.6.1)."""
        asked = plan.provisional if plan.is_auto else plan.outcome
        found = [self.exit.get(state) for state in asked.exits]
        found += [self.enter.get(state) for state in asked.enters]
        if plan.kind is not MutationType.REMOVE:
            before = plan.node.states
            found += [self.self_.get(state) for state in asked.target if state in before]
        found += [bound for _, bound in self.crossed(plan.node.order, asked.target)]
        found.append(self.any_enter)
        return tuple(bound for bound in found if bound is not None)

    def crossed(
        self, order: tuple[int, ...], target: tuple[int, ...]
    ) -> list[tuple[tuple[int, int], Bound]]:
        """Cross handlers from each state before to each target state, by both positions."""
        if not self.cross:
            return []
        rows = {state: at for at, state in enumerate(order)}
        columns = {state: at for at, state in enumerate(target)}
        found = [
            ((rows[x], columns[y]), bound)
            for (x, y), bound in self.cross.items()
            if x in rows and y in columns
        ]
        found.sort(key=lambda item: item[0])
        return found

    def finals(self, outcome: Outcome) -> tuple[Finish, ...]:
        """The final events in order (spec machine 4.8)."""
        found = [Finish(self.end[state], state) for state in outcome.exits if state in self.end]
        found += [Finish(self.state[s], s) for s in outcome.enters if s in self.state]
        if self.any_state is not None:
            found.append(Finish(self.any_state, None))
        return tuple(found)


def unhandled(event: object) -> None:
    """Stands for a handler that a binding does not have."""


def event_names(schema: CompiledSchema) -> list[str]:
    """The names of all events of a schema."""
    singles = [name + suffix for name in schema.names for suffix, _ in _SUFFIXES]
    pairs = [one + other for one in schema.names for other in schema.names]
    return [*singles, *pairs, ANY_ENTER, ANY_STATE]


def _functions(
    schema: CompiledSchema, handlers: object, prefix: str
) -> Iterator[tuple[str, Handler]]:
    """The handlers in an object or a mapping, by the event each is for."""
    if isinstance(handlers, Mapping):
        for name, function in handlers.items():
            if not callable(function):
                raise BindError(f"handler {name}: {function!r} is not callable")
            if not isinstance(name, str) or not roles(schema, prefix + name):
                raise BindError(
                    f"handler {name!r} fits no state of the schema; write e.g. "
                    f"{schema.names[0]}State, or AnyState"
                )
            yield prefix + name, function
        return
    if handlers is None or isinstance(handlers, (str, bytes, int, float, type)):
        raise BindError(f"handlers={handlers!r}: give an object with handler methods or a mapping")
    for name in dir(handlers):
        if name.startswith("_") or not roles(schema, prefix + name):
            continue
        function = getattr(handlers, name)
        if callable(function):
            yield prefix + name, function


_SUFFIXES = (("Enter", "enter"), ("Exit", "exit"), ("State", "state"), ("End", "end"))


def roles(schema: CompiledSchema, name: str) -> list[tuple[str, tuple[int, ...]]]:
    """What events of the schema have this name; several when names collide."""
    index = schema.index
    roles: list[tuple[str, tuple[int, ...]]] = []
    if name == ANY_ENTER:
        roles.append(("any_enter", ()))
    elif name == ANY_STATE:
        roles.append(("any_state", ()))
    for suffix, role in _SUFFIXES:
        if name.endswith(suffix) and name[: -len(suffix)] in index:
            roles.append((role, (index[name[: -len(suffix)]],)))
    for cut in range(1, len(name)):
        first, second = index.get(name[:cut]), index.get(name[cut:])
        if first is not None and second is not None:
            roles.append(("self_", (first,)) if first == second else ("cross", (first, second)))
    return roles


def _is_async(function: Handler) -> bool:
    # An object is asked too whether calling it makes a coroutine.
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004
    )


def _loop_for(functions: Mapping[str, Handler]) -> asyncio.AbstractEventLoop | None:
    """The loop that will run the async handlers; None without any."""
    names = [name for name, function in functions.items() if _is_async(function)]
    if not names:
        return None
    for name in names:
        if not name.endswith(_FINAL_SUFFIXES):
            raise BindError(
                f"handler {name} is async: only final handlers (FooState, FooEnd) may be; a "
                "negotiation has to answer at once"
            )
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise BindError(
            f"handler {names[0]} is async and no event loop runs here; bind it from a coroutine"
        ) from None
