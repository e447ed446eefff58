"""A relay's reader by itself: followers get what it has, in whatever order that came."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from amzmq.errors import FrameInvalid
from amzmq.machine import State
from amzmq.machine.compiled import CompiledSchema, compile_schema
from amzmq.rpc.replica.clock import ReplicaClock
from amzmq.rpc.replica.reader import RelayReader
from amzmq.wire.codec import Value
from amzmq.wire.feed import STREAM_ID_SIZE, PayloadFrame, Update
from amzmq.wire.reader import ClockNow, Need, StreamReader
from amzmq.wire.writer import StreamWriter

ID = b"\xce\x01\x90\x94xxxx"
SCHEMA: CompiledSchema = compile_schema({f"S{n}": State() for n in range(5)})


class Sink(ReplicaClock):
    """A clock that notes the payloads."""

    def __init__(self) -> None:
        super().__init__(SCHEMA)
        self.payloads: list[Value] = []
        self.diffs = 0

    def apply(
        self,
        changes: list[int],
        queue_ticks: int,
        machine_ticks: int,
        cause: Update | None = None,
    ) -> None:
        self.diffs += 1
        super().apply(changes, queue_ticks, machine_ticks, cause)

    def adopt(self, schema: Value, tracked: list[int] | None) -> ClockNow:
        raise AssertionError("no schema was sent")

    def deliver(self, payload: PayloadFrame) -> None:
        self.payloads.append(payload.data)


class Relayed:
    """A relay's reader, and what it handed on."""

    def __init__(self, writer: StreamWriter) -> None:
        self.sink = Sink()
        former = StreamReader(SCHEMA.names, self.sink)
        former.restore(writer.snapshot())
        self.published: list[bytes] = []
        self.kept: list[bytes] = []
        self.restarts: list[int] = []
        self.reader = RelayReader(former, self.sink, self)

    def forward(self, frames: Sequence[bytes]) -> None:
        self.published += frames
        self.kept += [frame[STREAM_ID_SIZE:] for frame in frames]

    def passed(self, body: bytes) -> None:
        self.published.append(ID + body)
        self.kept.append(body)

    def restarted(self, number: int) -> None:
        self.restarts.append(number)

    def hear(self, *frames: bytes) -> None:
        """As the follower does with frames that came together."""
        for frame in frames[self.reader.push_run(frames, STREAM_ID_SIZE) :]:
            self.reader.push(frame, STREAM_ID_SIZE)


class Source:
    """Writes a stream."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = random.Random(seed)
        self.writer = StreamWriter(ID, b"epoch...", SCHEMA)
        self.writer.begin(enumerate([0] * len(SCHEMA.names)), 1, 0)
        self.ticks = [0] * len(SCHEMA.names)
        self.queue_tick = 1

    def update(self) -> bytes:
        at = self.rng.randrange(len(self.ticks))
        self.ticks[at] += self.rng.randrange(1, 300)
        self.queue_tick += 1
        frame = self.writer.update([(at, self.ticks[at])], self.queue_tick, 0)
        assert frame is not None
        return frame

    def anything(self) -> bytes:
        if self.rng.random() < 0.3:
            return self.writer.payload("n", self.writer.payloads, b"token")
        return self.update()


def test_what_came_together_is_handed_on_as_it_came_and_applied_as_one() -> None:
    source = Source()
    relayed = Relayed(source.writer)
    frames = [source.update() for _ in range(10)]
    relayed.hear(*frames)
    assert relayed.published == frames
    assert relayed.sink.ticks[: len(source.ticks)] == source.ticks
    assert relayed.sink.diffs == 1
    assert relayed.reader.counters.updates == 10


def test_numbers_of_every_length_are_recognised_without_decoding() -> None:
    source = Source()
    relayed = Relayed(source.writer)
    for _ in range(700):
        frames = [source.update() for _ in range(100)]
        assert relayed.reader.push_run(frames, STREAM_ID_SIZE) == 100
    assert relayed.reader.number == source.writer.head == 70_000
    assert relayed.reader.checksum == source.writer.snapshot().checksum


def test_payloads_among_updates_keep_their_place() -> None:
    source = Source()
    relayed = Relayed(source.writer)
    frames = [source.update(), source.writer.payload("n", 0, b"token"), source.update()]
    frames += [source.update(), source.writer.payload("n", 1, b"token")]
    relayed.hear(*frames)
    assert relayed.published == frames
    assert relayed.sink.payloads == [0, 1]
    assert relayed.sink.diffs == 2
    assert relayed.reader.number == source.writer.head == 5


def test_what_is_not_next_is_not_handed_on() -> None:
    source = Source()
    relayed = Relayed(source.writer)
    first, second, third = source.update(), source.update(), source.update()
    relayed.hear(first)
    relayed.hear(first)
    relayed.hear(third)
    assert relayed.published == [first]
    assert relayed.reader.need is Need.MISSING
    relayed.hear(second)
    assert relayed.published == [first, second, third]
    assert relayed.kept == [frame[STREAM_ID_SIZE:] for frame in (first, second, third)]
    assert relayed.reader.need is Need.NOTHING
    assert relayed.reader.counters.duplicates == 1


def test_a_gap_that_is_heard_of_otherwise_ends_the_handing_on_until_it_is_filled() -> None:
    source = Source()
    relayed = Relayed(source.writer)
    frame = source.update()
    relayed.reader.behind(2)
    assert not relayed.reader.push_run([frame], STREAM_ID_SIZE)
    relayed.hear(frame)
    assert relayed.published == [frame]


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_damaged_message_is_forgotten_with_all_behind_it(at: int) -> None:
    source = Source()
    relayed = Relayed(source.writer)
    frames = [source.update() for _ in range(3)]
    good = Sink()
    reader = StreamReader(SCHEMA.names, good)
    reader.restore(Source().writer.snapshot())
    for frame in frames[:at]:
        reader.push(frame, STREAM_ID_SIZE)
    frames[at] = ID + Update(at + 1, 1, [0, 1], 1).body()
    relayed.hear(*frames)
    assert relayed.reader.need is Need.SNAPSHOT
    assert relayed.restarts == [at]
    assert relayed.sink.ticks == good.ticks
    assert relayed.reader.counters.mismatches == 1
    relayed.reader.restore(source.writer.snapshot())
    assert relayed.sink.ticks == source.ticks
    assert relayed.restarts == [at, 3]
    assert relayed.reader.push_run([source.update()], STREAM_ID_SIZE)


@pytest.mark.parametrize("array", [b"\x94\x01", b"\x94\x01\x01", b"\x91\x01"])
def test_what_begins_like_the_next_message_and_is_none_is_counted(array: bytes) -> None:
    source = Source()
    relayed = Relayed(source.writer)
    relayed.hear(ID + b"\x01" + array)
    assert relayed.reader.counters.mismatches == 1
    assert relayed.reader.need is Need.SNAPSHOT
    assert relayed.sink.ticks == [0] * len(source.ticks)


def test_what_is_no_message_at_all_is_not_handed_on() -> None:
    relayed = Relayed(Source().writer)
    for garbage in (b"", ID, ID + b"\x01", ID + b"\x09\x91\x01", ID + b"\x01\xc1" * 9):
        with pytest.raises(FrameInvalid):
            relayed.hear(garbage)
    assert relayed.published == []
    assert relayed.reader.need is Need.NOTHING


def test_once_released_nothing_is_handed_on_and_the_clock_goes_on() -> None:
    source = Source()
    relayed = Relayed(source.writer)
    relayed.hear(source.update())
    relayed.reader.release()
    published = list(relayed.published)
    relayed.hear(source.update())
    relayed.hear(source.update())
    assert relayed.published == published
    assert relayed.sink.ticks == source.ticks


@pytest.mark.parametrize("seed", range(40))
def test_whatever_is_lost_doubled_or_late_followers_get_what_the_relay_has(seed: int) -> None:
    source = Source(seed)
    rng = random.Random(seed)
    relayed = Relayed(source.writer)
    edge = Sink()
    follower = StreamReader(SCHEMA.names, edge)
    follower.restore(source.writer.snapshot())
    heard = 0
    on_the_way: list[bytes] = []
    for _ in range(300):
        frame = source.anything()
        on_the_way += [frame] * rng.choice((0, 1, 1, 1, 1, 2))
        if rng.random() < 0.2:
            rng.shuffle(on_the_way)
        while on_the_way and rng.random() < 0.7:
            together = rng.randrange(1, len(on_the_way) + 1)
            relayed.hear(*on_the_way[:together])
            del on_the_way[:together]
        if relayed.reader.need is not Need.NOTHING and rng.random() < 0.5:
            bodies = source.writer.since(relayed.reader.number)
            assert bodies is not None
            for body in bodies:
                relayed.reader.push(body)
        for handed_on in relayed.published[heard:]:
            follower.push(handed_on, STREAM_ID_SIZE)
        heard = len(relayed.published)
    for body in source.writer.since(relayed.reader.number) or ():
        relayed.reader.push(body)
    for handed_on in relayed.published[heard:]:
        follower.push(handed_on, STREAM_ID_SIZE)
    assert relayed.published == [ID + body for body in relayed.kept]
    assert relayed.kept == source.writer.since(0)
    assert edge.ticks == relayed.sink.ticks == source.ticks
    assert edge.payloads == relayed.sink.payloads == list(range(source.writer.payloads))
    assert follower.counters.duplicates == follower.counters.gaps == 0
    assert follower.counters.mismatches == relayed.reader.counters.mismatches == 0
