"""Handlers: found by name once, when they are bound (spec machine 5).

For states X and Y a handler is called ``XEnter``, ``XExit``, ``XX``, ``XY`` (negotiation: False
is a veto), ``XState``, ``XEnd`` (final), ``AnyEnter`` or ``AnyState``. The registry turns each
bound name into what calls it, so that a transition looks up indexes and never builds a name.
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

Handler: TypeAlias = Callable[[Any], Any]
"""A handler takes the Event. It is called with whatever Event class the machine has."""

ANY_ENTER = "AnyEnter"
ANY_STATE = "AnyState"
_FINAL_SUFFIXES = ("State", "End")
_ID_STRIP = re.compile(r"[^A-Za-z0-9\-_.]+")


class Call(NamedTuple):
    """One bound function of one event.

    Attributes:
        binding: The id of the binding it belongs to.
        function: What to call.
        is_async: Whether it is a coroutine function, run as a task.
    """

    binding: str
    function: Handler
    is_async: bool


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


class Binding(NamedTuple):
    """One call of `bind`."""

    number: int
    id: str
    functions: Mapping[str, Handler]
    loop: asyncio.AbstractEventLoop | None


class Handlers:
    """The handlers of one machine.

    Attributes:
        enter, exit, self_, state, end: What is bound to ``XEnter`` and so on, by state index.
        cross: What is bound to ``XY``, by the pair of indexes.
        any_enter, any_state: What is bound to the two global events.
        ever_bound: From the first bind on, also after everything was detached.
    """

    __slots__ = (
        "_bindings",
        "_count",
        "_schema",
        "any_enter",
        "any_state",
        "cross",
        "end",
        "enter",
        "ever_bound",
        "exit",
        "loop",
        "self_",
        "state",
    )

    def __init__(self, schema: CompiledSchema) -> None:
        self._schema = schema
        self._bindings: list[Binding] = []
        self._count = 0
        self.ever_bound = False
        self.loop: asyncio.AbstractEventLoop | None = None
        self._index()

    def ids(self) -> list[str]:
        """Ids of the bindings, in bind order."""
        return [binding.id for binding in self._bindings]

    def bind(self, handlers: object, id: str = "") -> str:
        """Bind the methods of an object, or a mapping from event name to function.

        Raises:
            BindError: Not bindable, an id taken, or an async handler where none can be.
        """
        functions = dict(self._functions(handlers))
        clean = _ID_STRIP.sub("", id) or f"anon-{secrets.token_hex(2)}"
        if clean in self.ids():
            raise BindError(f"handlers id={clean!r} is bound already; detach it or choose another")
        loop = _loop_for(functions)
        self._bindings.append(Binding(self._count, clean, functions, loop))
        self._count += 1
        self.ever_bound = True
        self._index()
        return clean

    def detach(self, id: str) -> None:
        """Undo one `bind`.

        Raises:
            BindError: Nothing is bound under this id.
        """
        kept = [binding for binding in self._bindings if binding.id != id]
        if len(kept) == len(self._bindings):
            raise BindError(f"handlers not bound: id={id!r}; bound are: {self.ids()}")
        self._bindings = kept
        self._index()

    def _functions(self, handlers: object) -> Iterator[tuple[str, Handler]]:
        if isinstance(handlers, Mapping):
            for name, function in handlers.items():
                if not callable(function):
                    raise BindError(f"handler {name}: {function!r} is not callable")
                if not self._roles(name):
                    raise BindError(
                        f"handler {name!r} fits no state of the schema; write e.g. "
                        f"{self._schema.names[0]}State, or AnyState"
                    )
                yield name, function
            return
        if handlers is None or isinstance(handlers, (str, bytes, int, float, type)):
            raise BindError(
                f"handlers={handlers!r}: give an object with handler methods or a mapping"
            )
        for name in dir(handlers):
            if name.startswith("_") or not self._roles(name):
                continue
            function = getattr(handlers, name)
            if callable(function):
                yield name, function

    def _roles(self, name: str) -> list[tuple[str, tuple[int, ...]]]:
        """What events of this schema have this name; several when names collide."""
        index = self._schema.index
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

    def _index(self) -> None:
        """Rebuild the look-up tables from the bindings."""
        self.enter: dict[int, Bound] = {}
        self.exit: dict[int, Bound] = {}
        self.self_: dict[int, Bound] = {}
        self.state: dict[int, Bound] = {}
        self.end: dict[int, Bound] = {}
        self.cross: dict[tuple[int, int], Bound] = {}
        self.any_enter: Bound | None = None
        self.any_state: Bound | None = None
        names = dict.fromkeys(name for binding in self._bindings for name in binding.functions)
        for name in names:
            calls = tuple(
                Call(binding.id, function, inspect.iscoroutinefunction(function))
                for binding in self._bindings
                if (function := binding.functions.get(name)) is not None
            )
            bound = Bound(name, calls, not name.endswith(_FINAL_SUFFIXES))
            for role, states in self._roles(name):
                if not states:
                    setattr(self, role, bound)
                elif role == "cross":
                    self.cross[states[0], states[1]] = bound
                else:
                    getattr(self, role)[states[0]] = bound
        loops = [binding.loop for binding in self._bindings if binding.loop is not None]
        self.loop = loops[-1] if loops else None


_SUFFIXES = (("Enter", "enter"), ("Exit", "exit"), ("State", "state"), ("End", "end"))


def _loop_for(functions: Mapping[str, Handler]) -> asyncio.AbstractEventLoop | None:
    """The loop that will run the async handlers; None without any."""
    names = [name for name, function in functions.items() if inspect.iscoroutinefunction(function)]
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
