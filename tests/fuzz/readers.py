"""A follower's readers, fed with the messages of one stream."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import cast

from amzmq.errors import FrameInvalid, InvalidArgs, SchemaMismatch
from amzmq.rpc.replica.reader import RelayReader
from amzmq.wire.checksum import CHECKSUM_MASK, ClockSum
from amzmq.wire.codec import decode, encode
from amzmq.wire.feed import UPDATE_BYTE
from amzmq.wire.reader import AHEAD_LIMIT
from amzmq.wire.writer import Snapshot
from tests.fuzz.target import Finding, Play, Target, Traces
from tests.wire.rig import ID, Replica, Source


class _Follower(Replica):
    """A replica, and the way of each step to its reader."""

    def play(self, steps: list[object]) -> None:
        for step in steps:
            # InvalidArgs: no source could have said that, as it has no form.
            with suppress(FrameInvalid, SchemaMismatch, InvalidArgs):
                self._step(step)

    def _step(self, step: object) -> None:
        reader = self.reader
        match step:
            case bytes(body):
                self._take([body])
            case [int(kind), *fields] if 0 <= kind < 256:
                self._take([bytes([kind]) + encode(fields)])
            case {"run": [*bodies]}:
                self._take([body for body in bodies if isinstance(body, bytes)])
            case {"right": [*fields]} if len(fields) > 1:
                self._take([self._right(fields)])
            case {"head": int(head)}:
                reader.behind(head)
            case {"over": _}:
                reader.start_over()
            case {"snapshot": [int(number), [*ticks], int(queue), int(mach), int(payloads)]} if min(
                number, payloads
            ) >= 0 and all(type(tick) is int for tick in ticks):
                known = cast("list[int]", ticks)
                fits = len(known) == len(self.names)
                total = ClockSum(self.names).reset(known, queue, mach) if fits else 0
                reader.restore(Snapshot(number, tuple(known), queue, mach, payloads, total))

    def _take(self, bodies: list[bytes]) -> None:
        """Frames that arrived together, as a follower takes them."""
        frames = [ID + body for body in bodies]
        for frame in frames[self.reader.push_run(frames, len(ID)) :]:
            with suppress(FrameInvalid, SchemaMismatch):
                self.reader.push(frame, len(ID))

    def _right(self, fields: list[object]) -> bytes:
        """The next update, with a checksum that fits what it says, as far as that has one."""
        queue, changes, *more = fields
        checksum: object = 0
        with suppress(TypeError, ValueError, IndexError, OverflowError, MemoryError):
            total = self.reader._sum.after(
                cast("list[int]", changes), cast(int, queue), cast(int, more[0]) if more else 0
            )
            checksum = total & CHECKSUM_MASK
        return UPDATE_BYTE + encode([self.reader.number + 1, queue, changes, checksum, *more])

    def check(self) -> None:
        reader = self.reader
        if len(reader._ahead) > AHEAD_LIMIT:
            raise Finding(f"{len(reader._ahead)} messages are kept aside")
        fresh = ClockSum(self.names).reset(self.ticks, self.queue_tick, self.machine_tick)
        if reader.number >= 0 and fresh != reader.checksum:
            raise Finding("the replica is not what the checksum says")


class _Tap:
    """Takes what a relay hands on."""

    def __init__(self) -> None:
        self.handed_on = 0

    def forward(self, frames: Sequence[bytes]) -> None:
        self.handed_on += len(frames)

    def passed(self, body: bytes) -> None:
        self.handed_on += 1

    def restarted(self, number: int) -> None:
        self.handed_on = 0


def _reader(value: object) -> None:
    if isinstance(value, list):
        follower = _Follower()
        follower.play(value)
        follower.check()


def _relay_reader(value: object) -> None:
    if not isinstance(value, list):
        return
    follower = _Follower()
    follower.play([_snapshot()])
    relay = RelayReader(follower.reader, follower, _Tap())
    follower.reader = relay
    follower.play(value)
    follower.check()
    if len(relay._bodies) > AHEAD_LIMIT:
        raise Finding(f"{len(relay._bodies)} bodies are kept aside")


def _made(take: Callable[[object], None]) -> Callable[[Traces], Play]:
    def play(data: bytes) -> None:
        with suppress(FrameInvalid):
            take(decode(data))

    return lambda traces: play


def _snapshot() -> dict[str, object]:
    return {"snapshot": [0, [0, 0, 0], 1, 0, 0]}


def _seeds() -> list[bytes]:
    source = Source()
    bodies = [source.tick(0), source.tick(1, 2), source.payload("x"), source.tick(0)]
    beat = source.heartbeat()
    return [
        encode([_snapshot(), *bodies, beat]),
        encode([_snapshot(), {"run": [bodies[0], bodies[1]]}, {"run": [*bodies[2:], beat]}]),
        encode([_snapshot(), bodies[0], bodies[2], bodies[1], bodies[3], beat, {"head": 9}]),
        encode([_snapshot(), {"right": [1, [0, 1]]}, {"right": [1, [2, 3], 1, 0, [1]]}]),
        encode([_snapshot(), {"right": [0, {0: 1, 1: 1}]}, {"right": [0, [0, b"x"]]}]),
        encode([bodies[1], _snapshot(), bodies[0], {"over": 1}, *bodies]),
        encode([_snapshot(), [1, 1, 1, [0, 1], 5], [3, 4, 5], [2, 1, 1, "n", 0, b"t"]]),
    ]


TARGETS = [
    Target("reader", _made(_reader), _seeds),
    Target("relay-reader", _made(_relay_reader), _seeds),
]
