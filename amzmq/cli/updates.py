"""The changes of a replica, one after the other, as they are applied."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from types import TracebackType

from amzmq.machine import Tracer
from amzmq.rpc.replica.event import ReplicaTransition
from amzmq.rpc.replica.netmach import NetworkMachine


@dataclass(frozen=True)
class Change:
    """What one update changed.

    Attributes:
        activated: States that became active.
        deactivated: States that became inactive.
        ticked: The new tick of every state that ticked, these two kinds included.
        states: All active states with their ticks, as text.
    """

    activated: list[str]
    deactivated: list[str]
    ticked: dict[str, int]
    states: str

    def described(self) -> dict[str, object]:
        """As plain values."""
        return {
            "activated": self.activated,
            "deactivated": self.deactivated,
            "ticked": self.ticked,
        }

    def __str__(self) -> str:
        """``+`` became active, ``-`` inactive, ``*`` ticked and stayed as it was."""
        changed = {*self.activated, *self.deactivated}
        marks = [f"+{name}" for name in self.activated]
        marks += [f"-{name}" for name in self.deactivated]
        marks += [f"*{name}" for name in self.ticked if name not in changed]
        return " ".join((*marks, self.states))


class Updates:
    """Iterates over the changes of a replica; the first one is all that is active at present.

    Args:
        replica: The machine.
    """

    def __init__(self, replica: NetworkMachine) -> None:
        self._replica = replica
        self._tracer = _ChangeTracer()
        clock = {name: tick for name, tick in replica.clock().items() if tick}
        active = [name for name, tick in clock.items() if tick & 1]
        self._tracer.changes.put_nowait(Change(active, [], clock, str(replica)))

    def __enter__(self) -> Updates:
        self._replica.bind_tracer(self._tracer)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._replica.detach_tracer(self._tracer.id)

    def __aiter__(self) -> Updates:
        return self

    async def __anext__(self) -> Change:
        return await self._tracer.changes.get()


class _ChangeTracer(Tracer):
    id = "updates"

    def __init__(self) -> None:
        self.changes: asyncio.Queue[Change] = asyncio.Queue()

    def transition_end(self, tx: object) -> None:
        """Keep what changed; an update may be about the queue only."""
        assert isinstance(tx, ReplicaTransition)
        both = zip(tx.machine.state_names, tx.time_before, tx.time_after, strict=True)
        if ticked := {name: after for name, before, after in both if after != before}:
            self.changes.put_nowait(Change(tx.activated, tx.deactivated, ticked, str(tx.machine)))
