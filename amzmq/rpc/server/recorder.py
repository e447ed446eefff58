"""Remembers each mutation of a machine, for views that are told of every one.

A tracer costs the machine its fastest road, so one is bound only while such a view is followed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from amzmq.machine import MutationType, Tracer, Transition
from amzmq.machine.compiled import CompiledSchema
from amzmq.wire.writer import Cause

RECORD_LIMIT = 16_384
"""Mutations kept between two flushes; more are told merged. As many as a journal keeps."""

_KINDS = {str(kind): int(kind) for kind in MutationType}


class Record(NamedTuple):
    """One mutation and the clock behind it.

    Attributes:
        cause: Its kind, and the states it called.
        ticks: Of all states.
        queue_tick, machine_tick: The counters.
        schema: Whose indexes these are.
    """

    cause: Cause
    ticks: Sequence[int]
    queue_tick: int
    machine_tick: int
    schema: CompiledSchema


class Recorder(Tracer):
    """Collects the records of a machine; on whichever thread it is mutated.

    Args:
        wake: Called when the first record comes after a `take`.

    Attributes:
        merged: How often records were given up because there were too many of them.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self.id = f"rpc-recorder-{id(self):x}"
        self.merged = 0
        self._wake = wake
        self._records: deque[Record] = deque()
        self._is_full = False

    @property
    def pending(self) -> bool:
        """Whether there is something to take."""
        return bool(self._records)

    def transition_end(self, tx: Transition) -> None:
        """A mutation has been processed, or was canceled."""
        if tx.is_check:
            return
        machine = tx.machine
        schema = machine.compiled
        called = [schema.index[name] for name in tx.called]
        was_empty = not self._records
        if len(self._records) >= RECORD_LIMIT:
            self._records.clear()
            self._is_full = True
            self.merged += 1
        cause = Cause(_KINDS[tx.type], called)
        ticks = tuple(machine.time())
        self._records.append(Record(cause, ticks, machine.queue_tick, machine.machine_tick, schema))
        if was_empty:
            self._wake()

    def take(self) -> tuple[list[Record], bool]:
        """The records since the last call, and whether earlier ones had to be given up."""
        records = []
        while self._records:
            records.append(self._records.popleft())
        is_full, self._is_full = self._is_full, False
        return records, is_full
