"""What a machine and its replicas have in common (design decision 4).

Code written against `Api` runs on either: reads and waits are the same, and a mutation is
awaited, which a local `Result` allows as well.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from amzmq.machine.args import Args
from amzmq.machine.clock import Time
from amzmq.machine.event import HasSource
from amzmq.machine.result import Result
from amzmq.machine.schema import State
from amzmq.machine.tracer import Tracer
from amzmq.machine.wait import StateCtx, Wait


class Api(Protocol):
    """A state machine, here or elsewhere.

    >>> async def ring(door: Api) -> None:
    ...     await door.add("Bell", by="visitor")
    ...     await door.when("Open")
    """

    @property
    def id(self) -> str:
        """The machine's id."""

    @property
    def is_local(self) -> bool:
        """Whether mutations run in this process."""

    @property
    def state_names(self) -> tuple[str, ...]:
        """All state names, in index order."""

    @property
    def schema(self) -> dict[str, State]:
        """A copy of the sanitised schema."""

    @property
    def queue_tick(self) -> int:
        """How many appended mutations were taken off the queue, plus one."""

    @property
    def machine_tick(self) -> int:
        """How many times the clock was imported."""

    @property
    def is_disposed(self) -> bool:
        """Whether the machine is disposed."""

    def add(
        self,
        *states: str,
        args: Args | None = None,
        event: HasSource | None = None,
        **kwargs: object,
    ) -> Awaitable[Result]:
        """Activate states."""

    def remove(
        self,
        *states: str,
        args: Args | None = None,
        event: HasSource | None = None,
        **kwargs: object,
    ) -> Awaitable[Result]:
        """Deactivate states."""

    def set(
        self,
        *states: str,
        args: Args | None = None,
        event: HasSource | None = None,
        **kwargs: object,
    ) -> Awaitable[Result]:
        """Activate exactly these states."""

    def toggle(
        self,
        *states: str,
        args: Args | None = None,
        event: HasSource | None = None,
        **kwargs: object,
    ) -> Awaitable[Result]:
        """Remove the states if all are active, add them otherwise."""

    def add_err(
        self, err: BaseException, *, args: Args | None = None, event: HasSource | None = None
    ) -> Awaitable[Result]:
        """Activate Exception with an error."""

    def add_err_state(
        self,
        state: str,
        err: BaseException,
        *,
        args: Args | None = None,
        event: HasSource | None = None,
    ) -> Awaitable[Result]:
        """Activate an error state and Exception with an error."""

    def can_add(self, *states: str) -> Result:
        """Whether `add` would be accepted now."""

    def can_remove(self, *states: str) -> Result:
        """Whether `remove` would be accepted now."""

    def is_(self, *states: str) -> bool:
        """Whether all of `states` are active."""

    def not_(self, *states: str) -> bool:
        """Whether none of `states` is active."""

    def any_(self, *states: str | Sequence[str]) -> bool:
        """Whether any of the states, or all of any group, are active."""

    def has(self, *states: str) -> bool:
        """Whether all the names are states of this machine."""

    def is_err(self) -> bool:
        """Whether Exception is active."""

    def err(self) -> BaseException | None:
        """The last error."""

    def switch(self, *states: str) -> str:
        """The first of `states` that is active; "" when none is."""

    def active_states(self, *states: str) -> list[str]:
        """The active states, or those of the given that are."""

    def index(self, state: str) -> int:
        """The index of a state; -1 when unknown."""

    def tick(self, state: str) -> int:
        """The tick of one state."""

    def time(self, *states: str) -> Time:
        """The ticks in index order, or of the given states."""

    def clock(self, *states: str) -> dict[str, int]:
        """The ticks by name."""

    def string_all(self) -> str:
        """All states with their ticks."""

    def inspect(self, *states: str) -> str:
        """A description of several lines."""

    def export(self) -> dict[str, Any]:
        """Id, names and ticks, as plain values."""

    def when(self, *states: str) -> Wait:
        """Wait until all of `states` are active at once."""

    def when_not(self, *states: str) -> Wait:
        """Wait until all of `states` are inactive at once."""

    def when_err(self) -> Wait:
        """Wait until Exception is active."""

    def when_time(self, times: Mapping[str, int]) -> Wait:
        """Wait until each state has reached its tick."""

    def when_ticks(self, state: str, ticks: int) -> Wait:
        """Wait until `state` has ticked `ticks` times from now."""

    def when_next_active(self, state: str) -> Wait:
        """Wait for the next activation of `state`."""

    def when_query(self, query: Callable[[Mapping[str, int]], bool]) -> Wait:
        """Wait until `query(clock)` is true after a change."""

    def when_queue(self, tick: int) -> Wait:
        """Wait until the queue has reached `tick`, e.g. a Result."""

    def when_disposed(self) -> Wait:
        """Wait until the machine is disposed."""

    def state_ctx(self, state: str) -> StateCtx:
        """The life of a state until its tick next changes."""

    def bind(self, handlers: object, id: str = "") -> str:
        """Bind handlers; returns the id of the binding."""

    def detach(self, id: str) -> None:
        """Undo a `bind`."""

    def handlers(self) -> list[str]:
        """Ids of the bindings."""

    def bind_tracer(self, tracer: Tracer) -> str:
        """Bind a tracer; returns its id."""

    def detach_tracer(self, id: str) -> None:
        """Detach a tracer."""

    def on_dispose(self, callback: Callable[[], None]) -> None:
        """Call `callback` when the machine is disposed."""

    def dispose(self) -> None:
        """Dispose the machine, or let go of the replica."""
