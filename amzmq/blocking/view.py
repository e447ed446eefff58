"""Reads and waits of a replica: passed straight through, as they are local and thread-safe."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from amzmq.blocking.line import Line
from amzmq.machine import State, StateCtx, Time, Wait
from amzmq.machine.compiled import CompiledSchema
from amzmq.rpc.replica.netmach import NetworkMachine as AioReplica


class ReplicaView:
    """The part of a blocking `NetworkMachine` that needs no message; from any thread."""

    def __init__(self, line: Line, replica: AioReplica) -> None:
        self._line = line
        self._aio = replica

    @property
    def aio(self) -> AioReplica:
        """The replica itself, for what takes one, e.g. `amzmq.pipes` or another `Mux`.

        Its mutations are made on the loop thread only.
        """
        return self._aio

    # Identity and schema.

    @property
    def id(self) -> str:
        """The replica's id."""
        return self._aio.id

    @property
    def remote_id(self) -> str:
        """Id of the machine at the source."""
        return self._aio.remote_id

    @property
    def path(self) -> tuple[str, ...]:
        """Ids of the nodes between the machine and this process, its owner first."""
        return self._aio.path

    @property
    def tags(self) -> tuple[str, ...]:
        """Labels."""
        return tuple(self._aio.tags)

    @property
    def is_local(self) -> bool:
        """False: mutations run at the source."""
        return self._aio.is_local

    @property
    def state_names(self) -> tuple[str, ...]:
        """All state names, in index order."""
        return self._aio.state_names

    @property
    def tracked_states(self) -> tuple[str, ...]:
        """The states of the view: what the source tells of; the others are inferred or 0."""
        return self._aio.tracked_states

    @property
    def compiled(self) -> CompiledSchema:
        """The schema by indexes."""
        return self._aio.compiled

    @property
    def schema(self) -> dict[str, State]:
        """A copy of the sanitised schema."""
        return self._aio.schema

    @property
    def schema_ver(self) -> int:
        """The number of states; a schema only ever grows."""
        return self._aio.schema_ver

    @property
    def queue_len(self) -> int:
        """0: the queue is at the source."""
        return self._aio.queue_len

    @property
    def queue_tick(self) -> int:
        """How many appended mutations were taken off the queue, plus one (spec machine 2.2)."""
        return self._aio.queue_tick

    @property
    def machine_tick(self) -> int:
        """How many times the machine's clock was imported."""
        return self._aio.machine_tick

    @property
    def is_stale(self) -> bool:
        """Whether the source is away; see the asyncio twin."""
        return self._aio.is_stale

    @property
    def filtered(self) -> int:
        """Mutations that were canceled here, as the source would have canceled them."""
        return self._aio.filtered

    @property
    def is_disposing(self) -> bool:
        """Whether the replica is being let go of."""
        return self._aio.is_disposing

    @property
    def is_disposed(self) -> bool:
        """Whether the replica was let go of."""
        return self._aio.is_disposed

    def groups(self) -> dict[str, list[int]]:
        """Names of groups to the indexes of their states, as the source describes them."""
        return self._aio.groups()

    def parse_states(self, *states: str) -> list[str]:
        """Those of `states` that the machine has, each once, in the given order."""
        return self._aio.parse_states(*states)

    def relations_of(self, state: str) -> list[str]:
        """The kinds of relations a state has, in the order add, require, remove, after."""
        return self._aio.relations_of(state)

    def relations_between(self, state: str, other: str) -> list[str]:
        """The kinds of relations from `state` to `other`."""
        return self._aio.relations_between(state, other)

    def inbound_relations_of(self, state: str) -> list[str]:
        """The other states that relate to `state`, one entry for each relation."""
        return self._aio.inbound_relations_of(state)

    def has(self, *states: str) -> bool:
        """Whether all the names are states of this machine."""
        return self._aio.has(*states)

    def index(self, state: str) -> int:
        """The index of a state; -1 when unknown."""
        return self._aio.index(state)

    # Checks.

    def is_(self, *states: str) -> bool:
        """Whether all of `states` are active; an unknown name never is."""
        return self._aio.is_(*states)

    def not_(self, *states: str) -> bool:
        """Whether none of `states` is active.

        Raises:
            StateUnknown: A name is not a state of this machine.
        """
        return self._aio.not_(*states)

    def any_(self, *states: str | Iterable[str]) -> bool:
        """Whether any of the arguments holds: a state, or a group of which all are active."""
        return self._aio.any_(*states)

    def is_err(self) -> bool:
        """Whether the Exception state is active."""
        return self._aio.is_err()

    def err(self) -> BaseException | None:
        """The last error added through this replica."""
        return self._aio.err()

    def switch(self, *states: str) -> str:
        """The first of `states` that is active; "" when none is."""
        return self._aio.switch(*states)

    def active_states(self, *states: str) -> list[str]:
        """The active states; with arguments, those of them that are active."""
        return self._aio.active_states(*states)

    # Clocks.

    def tick(self, state: str) -> int:
        """The tick of one state; 0 when unknown."""
        return self._aio.tick(state)

    def time(self, *states: str) -> Time:
        """The ticks in index order, or of the given states; 0 for an unknown one."""
        return self._aio.time(*states)

    def clock(self, *states: str) -> dict[str, int]:
        """The ticks by name, of all or of the given states."""
        return self._aio.clock(*states)

    def is_clock(self, clock: Mapping[str, int]) -> bool:
        """Whether every given tick equals the current one."""
        return self._aio.is_clock(clock)

    def was_clock(self, clock: Mapping[str, int]) -> bool:
        """Whether every current tick is at least the given one."""
        return self._aio.was_clock(clock)

    def is_time(self, time: Sequence[int], *states: str) -> bool:
        """Whether the ticks (of the given states) equal `time`."""
        return self._aio.is_time(time, *states)

    def was_time(self, time: Sequence[int], *states: str) -> bool:
        """Whether the ticks (of the given states) are at least `time`."""
        return self._aio.was_time(time, *states)

    # Text.

    def __str__(self) -> str:
        """The active states with their ticks, e.g. ``(A:1 B:3)``; "" once disposed."""
        return str(self._aio)

    def string_all(self) -> str:
        """All states with their ticks, e.g. ``(A:1 B:3) [C:2 Exception:0]``."""
        return self._aio.string_all()

    def inspect(self, *states: str) -> str:
        """A description of several lines: activity, tick, properties and relations."""
        return self._aio.inspect(*states)

    def export(self) -> dict[str, Any]:
        """Id, names, ticks, queue tick and machine tick, as plain values (spec machine 9.4)."""
        return self._aio.export()

    # Waits (spec machine 6). They are the replica's own: `.wait(timeout)` blocks, and raises
    # BlockingWait on the loop thread. All are released when the client stops.

    def _live(self) -> AioReplica:
        # In a forked child nobody would ever release a wait.
        self._line.check()
        return self._aio

    def when(self, *states: str, ctx: Wait | None = None) -> Wait:
        """Wait until all of `states` are active at once: ``net.when("Ready").wait(5)``.

        Args:
            states: Names.
            ctx: A state context, or any wait: once it is done, so is this wait.
        """
        return self._live().when(*states, ctx=ctx)

    def when_not(self, *states: str, ctx: Wait | None = None) -> Wait:
        """Wait until all of `states` are inactive at once; `ctx` as for `when`."""
        return self._live().when_not(*states, ctx=ctx)

    def when_err(self, *, ctx: Wait | None = None) -> Wait:
        """Wait until Exception is active; `ctx` as for `when`."""
        return self._live().when_err(ctx=ctx)

    def when_time(self, times: Mapping[str, int], *, ctx: Wait | None = None) -> Wait:
        """Wait until each state has reached its tick; `ctx` as for `when`."""
        return self._live().when_time(times, ctx=ctx)

    def when_ticks(self, state: str, ticks: int, *, ctx: Wait | None = None) -> Wait:
        """Wait until `state` has ticked `ticks` times from now; `ctx` as for `when`."""
        return self._live().when_ticks(state, ticks, ctx=ctx)

    def when_next_active(self, state: str, *, ctx: Wait | None = None) -> Wait:
        """Wait for the next activation of `state`; the current one does not count."""
        return self._live().when_next_active(state, ctx=ctx)

    def when_query(
        self, query: Callable[[Mapping[str, int]], bool], *, ctx: Wait | None = None
    ) -> Wait:
        """Wait until `query(clock)` is true after a change; asked on the loop thread."""
        return self._live().when_query(query, ctx=ctx)

    def when_queue(self, tick: int, *, ctx: Wait | None = None) -> Wait:
        """Wait until the queue has reached `tick`; any Result of a mutation may be passed."""
        return self._live().when_queue(tick, ctx=ctx)

    def when_args(self, state: str, *, ctx: Wait | None = None, **args: object) -> Wait:
        """Wait until `state`'s final handlers run at the source with all of `args` equal.

        Args:
            state: A name.
            ctx: As for `when`.
            args: What they have to hold.

        Raises:
            StateUnknown: The name is not a state of this machine.
            NotConnected: The client was never connected, or is stopped.
        """
        return self.when_args_of(state, args, ctx=ctx)

    def when_args_of(
        self, state: str, args: Mapping[str, object], *, ctx: Wait | None = None
    ) -> Wait:
        """`when_args` with the arguments as a mapping."""
        return self._line.call("when_args()", lambda: self._aio.when_args_of(state, args, ctx=ctx))

    def when_queue_ends(self) -> Wait:
        """Wait until the source has no mutation in its queue."""
        return self._line.call("when_queue_ends()", self._aio.when_queue_ends)

    def when_disposed(self) -> Wait:
        """Wait until the replica is let go of."""
        return self._live().when_disposed()

    def state_ctx(self, state: str) -> StateCtx:
        """The context of a state, which expires when its tick next changes (spec 6.2)."""
        return self._live().state_ctx(state)
