"""Clients that say Hello: a few a turn, so that a thousand at once hold up nobody else.

Making a server takes as long as dozens of mutations. Those who are here already come first: the
loop reads, answers and beats between any two handfuls of newcomers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from amzmq.rpc.server.counters import MuxCounters
from amzmq.rpc.server.limits import Guard
from amzmq.wire.control import Hello

HELLOS_A_TURN = 8
"""Some 2 ms of work; what one reading of a socket may take as well."""


class Arrivals:
    """The newcomers of a Mux.

    Args:
        admit: Takes one in, or refuses it.
        counters: Where it counts.
        guard: Knows how many may wait; the others say Hello again later.
    """

    def __init__(
        self, admit: Callable[[bytes, Hello], None], counters: MuxCounters, guard: Guard
    ) -> None:
        self._guard = guard
        self._admit = admit
        self._counters = counters
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[bytes, Hello] = {}
        self._admitted = 0  # in this turn
        self._next_turn: asyncio.Handle | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, peer: bytes, hello: Hello) -> None:
        """Somebody says Hello; again is no other place in the queue."""
        if self._admitted < HELLOS_A_TURN and not self._waiting:
            self._take_in(peer, hello)
        elif peer in self._waiting or len(self._waiting) < self._guard.limits.hellos_waiting:
            self._counters.hellos_delayed += peer not in self._waiting
            self._waiting[peer] = hello
        else:
            self._counters.hellos_dropped += 1
            self._guard.count("hellos_waiting")
        if self._next_turn is None:
            self._next_turn = self._loop.call_soon(self._turn)

    def forget(self, peer: bytes) -> None:
        """Somebody has gone before it was taken in."""
        self._waiting.pop(peer, None)

    def close(self) -> list[bytes]:
        """Nobody is taken in any more; returns who waits."""
        if self._next_turn is not None:
            self._next_turn.cancel()
            self._next_turn = None
        waiting, self._waiting = self._waiting, {}
        return list(waiting)

    def _turn(self) -> None:
        self._next_turn = None
        self._admitted = 0
        while self._waiting and self._admitted < HELLOS_A_TURN:
            peer = next(iter(self._waiting))
            self._take_in(peer, self._waiting.pop(peer))
        if self._admitted and self._next_turn is None:
            self._next_turn = self._loop.call_soon(self._turn)

    def _take_in(self, peer: bytes, hello: Hello) -> None:
        self._admitted += 1
        self._admit(peer, hello)
