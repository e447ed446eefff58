"""The state of a followed machine in this process, shared by all its replicas here.

Replicas of one stream would all be told the same, so they share what they are told: one clock,
brought up to date once for each update, whatever the number of replicas (design 5). Only the
follower of the stream changes it, on its event loop; reads and waits may come from any thread.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from amzmq.errors import FrameInvalid, SchemaMismatch
from amzmq.machine import Time
from amzmq.machine.compiled import CompiledSchema
from amzmq.rpc.replica.inference import Inference
from amzmq.wire.codec import Value
from amzmq.wire.feed import Update
from amzmq.wire.reader import ClockNow
from amzmq.wire.schema import schema_from_value
from amzmq.wire.writer import Snapshot

if TYPE_CHECKING:
    from amzmq.rpc.replica.netmach import NetworkMachine


GUARD = threading.Lock()
"""The lock of all replicas and their clocks: held to commit and to register waits, never longer.

One for all, because a replica may change its clock while it lives.
"""


class ReplicaClock:
    """Ticks, counters and active states, as the stream has told them.

    Args:
        schema: What is known of the machine's schema.
        tracked: Indexes of the states in the view; None for all.

    Attributes:
        schema: The present schema.
        ticks: By index; changed in place, so that whoever holds the list sees it.
        queue_tick, machine_tick: The counters.
        watching: How many of the replicas have handlers or tracers.

    Raises:
        FrameInvalid: The schema has no states of these indexes.
    """

    __slots__ = (
        "_active", "_frozen", "_inference", "_inferred", "_replicas", "machine_tick",
        "queue_tick", "schema", "ticks", "tracked", "watching",
    )  # fmt: skip

    def __init__(self, schema: CompiledSchema, tracked: list[int] | None = None) -> None:
        _check_tracked(tracked, schema)
        self.schema = schema
        self.tracked = tracked
        self.ticks = [0] * len(schema.names)
        self.queue_tick = 1
        self.machine_tick = 0
        self.watching = 0
        self._active: set[str] = set()
        self._frozen: frozenset[str] | None = frozenset()
        self._inference = None if tracked is None else Inference(schema, tracked)
        self._inferred: set[int] = set()
        self._replicas: list[NetworkMachine] = []

    # Whose clock it is.

    @property
    def replicas(self) -> tuple[NetworkMachine, ...]:
        """The replicas that read it."""
        return tuple(self._replicas)

    def attach(self, replica: NetworkMachine) -> None:
        """One more replica reads this clock."""
        self._replicas = [*self._replicas, replica]

    def detach(self, replica: NetworkMachine) -> None:
        """One less."""
        self._replicas = [other for other in self._replicas if other is not replica]

    @property
    def is_watched(self) -> bool:
        """Whether one of the replicas has to be told of each update."""
        return any([replica.is_listening for replica in self._replicas])

    # What can be read.

    def active_names(self) -> frozenset[str]:
        """The names of the active states; the same object until they change."""
        frozen = self._frozen
        if frozen is None:
            frozen = self._frozen = frozenset(self._active)
        return frozen

    # What the stream says. These are the sink of its reader.

    def apply(
        self,
        changes: list[int],
        queue_ticks: int,
        machine_ticks: int,
        cause: Update | None = None,
    ) -> None:
        """A diff: index, ticks added, index, ticks added, and so on."""
        before = Time(self.ticks) if self.watching else None
        activated: list[int] = []
        deactivated: list[int] = []
        ticks = self.ticks
        with GUARD:
            for at in range(0, len(changes), 2):
                index, delta = changes[at], changes[at + 1]
                tick = ticks[index]
                ticks[index] = tick + delta
                if delta & 1:
                    (deactivated if tick & 1 else activated).append(index)
            self.queue_tick += queue_ticks
            self.machine_tick += machine_ticks
            if activated or deactivated:
                if self._inference is not None:
                    changes = changes + self._infer(activated, deactivated)
                self._mark(activated, deactivated)
        for replica in self._replicas:
            if replica.is_listening:
                replica.told(changes[::2], activated, deactivated, before, cause)

    def restore(self, snapshot: Snapshot) -> None:
        """A whole clock."""
        before = Time(self.ticks) if self.watching else None
        ticks = list(snapshot.ticks)
        if self._inference is not None:
            self._inferred = self._inference.of(at for at, tick in enumerate(ticks) if tick & 1)
            for index in self._inferred:
                ticks[index] = 1
        ticked, activated, deactivated = differences(self.ticks, ticks)
        with GUARD:
            self.ticks[:] = ticks
            self.queue_tick = snapshot.queue_tick
            self.machine_tick = snapshot.machine_tick
            self._mark(activated, deactivated)
        for replica in self._replicas:
            replica.told(ticked, activated, deactivated, before, None)

    def adopt(self, schema: Value, tracked: list[int] | None) -> ClockNow:
        """The machine has another schema now: ticks are kept by name.

        Raises:
            FrameInvalid: It is no schema.
            SchemaMismatch: It lacks states of the present one; nothing was changed.
        """
        self.adopt_schema(schema_from_value(schema), tracked)
        told = list(self.ticks)
        for index in self._inferred:
            told[index] = 0
        return ClockNow(self.schema.names, told, self.queue_tick, self.machine_tick)

    def adopt_schema(self, schema: CompiledSchema, tracked: list[int] | None) -> None:
        """`adopt`, of a schema that is compiled already."""
        _check_tracked(tracked, schema)
        _check_growth(self.schema.names, schema)
        known = {
            name: 0 if at in self._inferred else self.ticks[at]
            for at, name in enumerate(self.schema.names)
        }
        with GUARD:
            self.schema = schema
            self.tracked = tracked
            self.ticks = ticks = [known.get(name, 0) for name in schema.names]
            self._inference = None if tracked is None else Inference(schema, tracked)
            if self._inference is not None:
                told = (at for at, tick in enumerate(ticks) if tick & 1)
                self._inferred = self._inference.of(told)
                for index in self._inferred:
                    ticks[index] = 1
            self._active = {
                name for name, tick in zip(schema.names, ticks, strict=True) if tick & 1
            }
            self._frozen = None
        for replica in self._replicas:
            replica.schema_changed()

    def inherit(self, older: ReplicaClock) -> None:
        """Show what `older` shows until the first snapshot: what was known stays readable."""
        known = dict(zip(older.schema.names, older.ticks, strict=True))
        inferred = {older.schema.names[at] for at in older._inferred}
        names = self.schema.names
        with GUARD:
            self.ticks[:] = [known.get(name, 0) for name in names]
            self.queue_tick = older.queue_tick
            self.machine_tick = older.machine_tick
            self._inferred = {at for at, name in enumerate(names) if name in inferred}
            self._active = {name for name in names if known.get(name, 0) & 1}
            self._frozen = None

    def must_have(self, names: Sequence[str]) -> None:
        """Check that a replica that knows these states can read this clock.

        Raises:
            SchemaMismatch: Some are missing.
        """
        _check_growth(names, self.schema)

    def _infer(self, activated: list[int], deactivated: list[int]) -> list[int]:
        """Follow up on states outside of the view; the changes that come of it."""
        assert self._inference is not None
        ticks = self.ticks
        told = (at for at, tick in enumerate(ticks) if tick & 1 and at not in self._inferred)
        inferred = self._inference.of(told)
        changes: list[int] = []
        for index in sorted(inferred - self._inferred):
            ticks[index] = 1
            activated.append(index)
            changes += (index, 1)
        for index in sorted(self._inferred - inferred):
            ticks[index] = 0
            deactivated.append(index)
            changes += (index, -1)
        self._inferred = inferred
        return changes

    def _mark(self, activated: list[int], deactivated: list[int]) -> None:
        names = self.schema.names
        for index in activated:
            self._active.add(names[index])
            self._frozen = None
        for index in deactivated:
            self._active.discard(names[index])
            self._frozen = None


def _check_tracked(tracked: list[int] | None, schema: CompiledSchema) -> None:
    count = len(schema.names)
    if tracked and not 0 <= min(tracked) <= max(tracked) < count:
        raise FrameInvalid(f"tracked={tracked}: state indexes of {count} states")


def _check_growth(names: Sequence[str], schema: CompiledSchema) -> None:
    if lost := [name for name in names if name not in schema.index]:
        raise SchemaMismatch(
            f"the source's schema has no {' '.join(lost)} any more; whoever follows it knows "
            "these states: make a new client for the new schema"
        )


def differences(old: list[int], new: list[int]) -> tuple[list[int], list[int], list[int]]:
    """The indexes that ticked between two clocks, that became active, and inactive."""
    pairs = list(enumerate(zip(old, new, strict=True)))
    return (
        [at for at, (before, after) in pairs if before != after],
        [at for at, (before, after) in pairs if after & 1 and not before & 1],
        [at for at, (before, after) in pairs if before & 1 and not after & 1],
    )
