"""A stream over a way that loses, repeats, reorders and spoils, against what must hold always."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from amzmq.wire.feed import Update, parse_body
from amzmq.wire.journal import JournalLimits
from amzmq.wire.reader import Need
from amzmq.wire.writer import Snapshot

from .rig import ID, Replica, Source, writer_of

Clock = tuple[tuple[int, ...], int, int]


class Follow(RuleBasedStateMachine):
    """One source, one follower, and whatever may happen in between."""

    def __init__(self) -> None:
        super().__init__()
        limits = JournalLimits(messages=6)
        self.source = Source(writer_of(limits))
        self.replica = Replica()
        self.on_the_way: list[bytes] = []
        self.answers: list[list[bytes] | Snapshot] = []
        self.clock_at: dict[int, Clock] = {}
        self.payloads_at: dict[int, int] = {}
        self.note()
        self.first: Snapshot | None = None
        self.numbers: list[int] = [-1]

    # The source.

    @rule(indexes=st.lists(st.integers(0, 2), max_size=3, unique=True))
    def mutate(self, indexes: list[int]) -> None:
        self.on_the_way.append(self.source.tick(*indexes))
        self.note()

    @rule()
    def send_payload(self) -> None:
        self.on_the_way.append(self.source.payload(self.source.writer.payloads + 1))
        self.note()

    def note(self) -> None:
        self.clock_at[self.source.writer.head] = self.source.clock
        self.payloads_at[self.source.writer.head] = self.source.writer.payloads

    @rule()
    def beat(self) -> None:
        self.on_the_way.append(self.source.heartbeat())

    # The way.

    @precondition(lambda self: self.on_the_way)
    @rule(at=st.integers(0, 100), again=st.booleans())
    def arrive(self, at: int, again: bool) -> None:
        at %= len(self.on_the_way)
        self.replica.reader.push(self.on_the_way[at] if again else self.on_the_way.pop(at))

    @precondition(lambda self: self.on_the_way)
    @rule(count=st.integers(1, 8), watched=st.booleans())
    def arrive_together(self, count: int, watched: bool) -> None:
        frames = [ID + body for body in self.on_the_way[:count]]
        del self.on_the_way[:count]
        self.replica.is_watched = watched
        taken = self.replica.reader.push_run(frames, len(ID))
        for frame in frames[taken:]:
            self.replica.reader.push(frame, len(ID))

    @precondition(lambda self: self.on_the_way)
    @rule(at=st.integers(0, 100))
    def lose(self, at: int) -> None:
        self.on_the_way.pop(at % len(self.on_the_way))

    @precondition(lambda self: self.on_the_way)
    @rule(at=st.integers(0, 100), error=st.integers(1, 2**31))
    def spoil(self, at: int, error: int) -> None:
        """An update whose checksum does not fit what it says."""
        at %= len(self.on_the_way)
        message = parse_body(self.on_the_way[at])
        if isinstance(message, Update):
            self.on_the_way[at] = message._replace(checksum=message.checksum ^ error).body()

    # Questions and answers: each may be answered late, and after others.

    @rule()
    def ask(self) -> None:
        reader = self.replica.reader
        missed = None
        if reader.need is not Need.SNAPSHOT:
            missed = self.source.writer.since(reader.number)
        self.answers.append(self.source.writer.snapshot() if missed is None else missed)

    @precondition(lambda self: self.answers)
    @rule(at=st.integers(0, 10), again=st.booleans())
    def answer(self, at: int, again: bool) -> None:
        at %= len(self.answers)
        self.take(self.answers[at] if again else self.answers.pop(at))

    def take(self, answer: list[bytes] | Snapshot) -> None:
        if isinstance(answer, Snapshot):
            self.first = self.first or answer
            self.replica.reader.restore(answer)
        else:
            for body in answer:
                self.replica.reader.push(body)

    # What holds always.

    @invariant()
    def never_ahead_and_never_wrong(self) -> None:
        number = self.replica.reader.number
        assert number <= self.source.writer.head
        if number >= 0:
            assert self.replica.clock == self.clock_at[number]

    @invariant()
    def never_back(self) -> None:
        self.numbers.append(self.replica.reader.number)
        assert self.numbers[-1] >= self.numbers[-2]

    @invariant()
    def payloads_once_and_in_order(self) -> None:
        payloads = self.replica.payloads
        assert payloads == sorted(set(payloads))

    @invariant()
    def every_loss_is_counted(self) -> None:
        """At any moment for what the replica has passed, so at rest for all."""
        if self.first is None:
            assert self.replica.payloads == []
            return
        counters = self.replica.reader.counters
        assert counters.payloads == len(self.replica.payloads)
        accounted = self.first.payloads + counters.payloads + counters.payloads_lost
        assert accounted == self.payloads_at[self.replica.reader.number]

    def teardown(self) -> None:
        """However it went: two questions answered in good order make them equal."""
        reader = self.replica.reader
        reader.push(self.source.heartbeat())
        for _ in range(2):
            if reader.need is not Need.NOTHING:
                self.answers.clear()
                self.ask()
                self.take(self.answers.pop())
        assert reader.need is Need.NOTHING
        assert reader.number == self.source.writer.head
        assert self.replica.clock == self.source.clock
        self.every_loss_is_counted()


Follow.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestFollow = Follow.TestCase
