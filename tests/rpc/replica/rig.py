"""A follower without a network: a stream that a test says, and members that note all."""

from __future__ import annotations

import asyncio

from amzmq.errors import SchemaMismatch
from amzmq.net import Subscriber
from amzmq.net.transport import FramesFn
from amzmq.rpc.replica.follower import Follower
from amzmq.wire.control import CatchUp, SnapshotReply, Sync
from amzmq.wire.feed import PayloadFrame
from amzmq.wire.schema import schema_hash
from amzmq.wire.writer import StreamWriter
from tests.wire.rig import EPOCH, ID, NAMES, schema_of, writer_of

HERE, THERE = "mem://here", "mem://there"
FAR = 1e9


class Line(Subscriber):
    """A connection to a feed."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.topics: list[bytes] = []
        self.closed = False

    def subscribe(self, topic: bytes) -> None:
        self.topics.append(topic)

    def unsubscribe(self, topic: bytes) -> None:
        self.topics.remove(topic)

    def close(self) -> None:
        self.closed = True


class Lines:
    """All connections that were made."""

    def __init__(self) -> None:
        self.all: list[Line] = []
        self.closed = False

    def subscriber(self, endpoint: str, on_frames: FramesFn) -> Subscriber:
        self.all.append(Line(endpoint))
        return self.all[-1]

    async def close(self) -> None:
        self.closed = True

    @property
    def open(self) -> list[str]:
        return [line.endpoint for line in self.all if not line.closed]


class Caller:
    """A client that follows; notes what it is to ask, and when."""

    def __init__(self, connected: bool = True) -> None:
        self.connected = connected
        self.asked: list[Sync] = []
        self.times: list[float] = []
        self.payloads: list[object] = []
        self.numbers: list[int] = []
        self.waits_for = 0
        self.beats = 0
        self.aged_times = 0
        self.misfits: list[SchemaMismatch] = []

    def ask(self, message: Sync) -> bool:
        if self.connected:
            self.asked.append(message)
            self.times.append(asyncio.get_running_loop().time())
        return self.connected

    def deliver(self, frame: PayloadFrame) -> None:
        self.payloads.append(frame.data)

    def applied(self, number: int) -> bool:
        self.numbers.append(number)
        return number < self.waits_for

    def beat(self) -> None:
        self.beats += 1

    def aged(self) -> None:
        self.aged_times += 1

    def misfit(self, error: SchemaMismatch) -> None:
        self.misfits.append(error)


class Stream:
    """What a source says of one machine."""

    def __init__(self, said: int = 0) -> None:
        self.writer: StreamWriter = writer_of()
        self.writer.begin([], 1, 0)
        self.frames: list[bytes] = []
        self.say(said)

    def say(self, count: int = 1) -> list[bytes]:
        for _ in range(count):
            tick = self.writer.head + 1
            frame = self.writer.update([(0, tick)], 1 + tick, 0)
            assert frame is not None
            self.frames.append(frame)
        return self.frames[-count:] if count else []

    def snapshot(self, request: int) -> SnapshotReply:
        now = self.writer.snapshot()
        return SnapshotReply(
            request, now.number, list(now.ticks), now.queue_tick, now.machine_tick, now.payloads,
            now.checksum,
        )  # fmt: skip

    def since(self, request: int, number: int, head: int = 0) -> CatchUp:
        return CatchUp(request, self.writer.since(number) or [], head)


def follower(lines: Lines | None = None) -> Follower:
    return Follower(ID, EPOCH, schema_of(*NAMES), None, lines or Lines())


async def begun(
    made: Follower, stream: Stream, *members: Caller, feed: str = HERE
) -> tuple[Caller, ...]:
    """Members that were told all that there was to tell."""
    for member in members or (Caller(),):
        made.join(member, feed)
        beginning = asyncio.create_task(made.begin(member, EPOCH, FAR))
        await asyncio.sleep(0)
        made.on_snapshot(stream.snapshot(member.asked[-1].request))
        await beginning
        member.asked.clear()
        member.times.clear()
    return members


def known_hash() -> bytes:
    return schema_hash(schema_of(*NAMES))


def gaps(made: Follower) -> tuple[int, int]:
    counts = made.counts()
    return counts["gaps"], counts["resyncs"]
