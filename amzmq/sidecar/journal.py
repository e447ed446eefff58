"""The last changes of a machine, numbered, for those who read them over HTTP and come back."""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from amzmq.machine.api import Api
from amzmq.machine.tracer import Tracer

KEPT = 1024
"""Entries; older ones are replaced by a snapshot for who asks for them."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened.

    Attributes:
        number: Its place in the journal.
        kind: ``snapshot``, ``change`` or ``payload``.
        data: What, as JSON has it.
    """

    number: int
    kind: str
    data: Mapping[str, object]


class Journal:
    """Follows a machine, here or elsewhere, from its creation on.

    Args:
        machine: The machine.
        id: What it is shown as; its own id if empty.

    Attributes:
        epoch: Names this journal: numbers of another one mean nothing here.
        head: Number of the last entry.
    """

    def __init__(self, machine: Api, id: str = "") -> None:
        self.epoch = secrets.token_hex(4)
        self.head = 0
        self._machine = machine
        self._id = id
        self._entries: deque[Entry] = deque(maxlen=KEPT)
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._grown = asyncio.Event()
        self._closed = False
        self._tracer = _Changes(self)
        machine.bind_tracer(self._tracer)

    def append(self, kind: str, data: Mapping[str, object]) -> None:
        """Something happened; from any thread."""
        if threading.get_ident() != self._thread:
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self.append, kind, data)
            return
        self.head += 1
        self._entries.append(Entry(self.head, kind, data))
        self._wake()

    def close(self) -> None:
        """Nothing more happens: readers end behind the last entry."""
        if not self._closed:
            self._closed = True
            if not self._machine.is_disposed:
                self._machine.detach_tracer(self._tracer.id)
            self._wake()

    def _wake(self) -> None:
        # Whoever waits holds the old one; the next wait is for what comes then.
        self._grown.set()
        self._grown = asyncio.Event()

    def id_of(self, entry: Entry) -> str:
        """What a reader gives to go on behind an entry."""
        return f"{self.epoch}-{entry.number}"

    async def read(self, last_id: str, idle: float) -> AsyncIterator[Entry | None]:
        """The entries behind an id, for ever; None whenever nothing happened for a while.

        Args:
            last_id: Of the last entry that is known; "" if none is.
            idle: Seconds of that while.

        It begins with a snapshot unless the id is still in the journal, and one comes again
        should the reader fall behind.
        """
        position = self._position(last_id)
        while True:
            oldest = self._entries[0].number if self._entries else self.head + 1
            if position is None or position + 1 < oldest:
                position = self.head
                yield Entry(self.head, "snapshot", snapshot(self._machine, self._id))
            for entry in self._after(position):
                yield entry
                position = entry.number
            if position < self.head:
                continue
            if self._closed:
                return
            grown = self._grown
            try:
                async with asyncio.timeout(idle):
                    await grown.wait()
            except TimeoutError:
                yield None

    def _position(self, last_id: str) -> int | None:
        epoch, _, number = last_id.rpartition("-")
        if epoch != self.epoch or not number.isdecimal() or int(number) > self.head:
            return None
        return int(number)

    def _after(self, position: int) -> list[Entry]:
        return [self._entries[at] for at in range(position - self.head, 0)]


def snapshot(machine: Api, id: str = "") -> dict[str, object]:
    """A machine as it is now, under its own id or another one."""
    return {
        "id": id or machine.id,
        "active": machine.active_states(),
        "clock": machine.clock(),
        "queue_tick": machine.queue_tick,
        "machine_tick": machine.machine_tick,
    }


class _Changes(Tracer):
    """Tells the journal what each transition, or update of a replica, changed."""

    def __init__(self, journal: Journal) -> None:
        self.id = f"sidecar-journal-{journal.epoch}"
        self._journal = journal

    # Any: a Transition or a ReplicaTransition.
    def transition_end(self, tx: Any) -> None:
        """Keep what changed; many a transition changes nothing."""
        if not tx.is_accepted or getattr(tx, "is_check", False):
            return
        both = zip(tx.machine.state_names, tx.time_before, tx.time_after, strict=True)
        ticked = {name: (before, after) for name, before, after in both if after != before}
        if ticked:
            activated = [n for n, (before, after) in ticked.items() if after & ~before & 1]
            deactivated = [n for n, (before, after) in ticked.items() if before & ~after & 1]
            self._journal.append(
                "change",
                {
                    "activated": activated,
                    "deactivated": deactivated,
                    "ticks": {name: after for name, (_, after) in ticked.items()},
                },
            )
