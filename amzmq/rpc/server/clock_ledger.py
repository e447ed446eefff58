"""What a file of clocks is to say: the clock of each machine, as it was told last."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from amzmq.machine import ClockReading, Machine
from amzmq.machine.compiled import CompiledSchema
from amzmq.rpc.server.clock_records import StoredClock, change, whole
from amzmq.wire.schema import schema_hash

_log = logging.getLogger("amzmq.persist")

_NAMED = 5  # states in an error


@dataclass(slots=True)
class _Kept:
    """A machine that is served: its number in the file, its schema there, its clock."""

    number: int
    schema: CompiledSchema
    clock: StoredClock


class Ledger:
    """Clocks by the number that the records of a file give each machine.

    Args:
        clocks: Those of the file. Of machines that are not served now they stay as they are.

    Attributes:
        clocks: All of them, as they are now.
    """

    def __init__(self, clocks: Mapping[int, StoredClock]) -> None:
        self.clocks = dict(clocks)
        self._numbers = {clock.machine_id: number for number, clock in clocks.items()}
        self._kept: dict[str, _Kept] = {}

    @property
    def machine_ids(self) -> list[str]:
        """Of all machines that are known."""
        return list(self._numbers)

    def restore(self, machine: Machine) -> str:
        """Let a machine go on where it was, if it is known.

        Handlers and waits hear nothing of it (`Machine.import_`). A machine that has begun stays
        as it is, which is right if it is where it was left.

        Returns:
            In what it is behind the clock that is known; "" if in nothing.
        """
        number = self._numbers.get(machine.id)
        if number is None:
            return ""
        stored = self.clocks[number]
        if any(machine.time()):
            return _behind(machine, stored)
        known = stored.by_name()
        ticks = [known.get(name, 0) for name in machine.state_names]
        machine.import_(
            {
                "id": machine.id,
                "state_names": list(machine.state_names),
                "time": ticks,
                "queue_tick": stored.queue_tick,
                "machine_tick": stored.machine_tick,
            },
            queue_tick=True,
        )
        _log.info("[%s] goes on at %d ticks", machine.id, sum(ticks))
        if stored.schema_hash != schema_hash(machine.compiled):
            gone = [name for name in known if not machine.has(name)]
            new = [name for name in machine.state_names if name not in known]
            _log.warning(
                "[%s] its schema has changed since it was kept: gone are %s; new are %s",
                machine.id, " ".join(gone) or "none", " ".join(new) or "none",
            )  # fmt: skip
        return ""

    def adopt(self, machine_id: str, start: ClockReading) -> bytes:
        """A machine is served from a clock on; returns the body that tells it."""
        number = self._numbers.setdefault(machine_id, len(self._numbers))
        return self._renew(machine_id, number, start)

    def change(self, machine_id: str, reading: ClockReading) -> bytes:
        """A clock has changed; returns the body that tells it."""
        kept = self._kept[machine_id]
        ticks, queue_tick, machine_tick, schema = reading
        if schema is not kept.schema:
            return self._renew(machine_id, kept.number, reading)
        clock = kept.clock
        for index, tick in ticks:
            clock.ticks[index] = tick
        clock.queue_tick, clock.machine_tick = queue_tick, machine_tick
        return change(kept.number, ticks, queue_tick, machine_tick)

    def _renew(self, machine_id: str, number: int, reading: ClockReading) -> bytes:
        """A clock from scratch, by the names of its states; `reading` has those that ticked.

        What a state had ticked that is no more, is kept: it may come back.
        """
        stored, schema = self.clocks.get(number), reading.schema
        known = {} if stored is None else stored.by_name()
        known.update((schema.names[index], tick) for index, tick in reading.ticks)
        clock = self.clocks[number] = StoredClock(
            machine_id,
            schema_hash(schema),
            schema.names,
            [known.get(name, 0) for name in schema.names],
            reading.queue_tick,
            reading.machine_tick,
            {name: tick for name, tick in known.items() if name not in schema.index},
        )
        self._kept[machine_id] = _Kept(number, schema, clock)
        return whole(number, clock)


def _behind(machine: Machine, stored: StoredClock) -> str:
    now = machine.clock()
    behind = [
        f"{name} {now[name]} (kept: {tick})"
        for name, tick in stored.by_name().items()
        if now.get(name, tick) < tick
    ]
    if machine.machine_tick < stored.machine_tick:
        behind.append(f"machine tick {machine.machine_tick} (kept: {stored.machine_tick})")
    return ", ".join(behind[:_NAMED])
