"""The promises (docs/guarantees.md), each as a judge of a history.

A judge says which happenings break its promise: none, if all is well. It believes nothing that a
follower says of itself except what its user would read there.
"""

from __future__ import annotations

import enum
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.oracles.history import (
    Answered,
    Asked,
    Beat,
    Called,
    Caught,
    Fate,
    Fired,
    Heard,
    History,
    Met,
    Ready,
    Saw,
    Sent,
    Took,
    Waits,
)
from tests.oracles.index import Index


class Promise(enum.Enum):
    """What amzmq promises."""

    ORDERED = "ordered"
    UNIQUE = "unique"
    ATOMIC = "atomic"
    RELIABLE = "reliable"
    RESUMABLE = "resumable"
    BOOKMARKED = "bookmarked"
    NEVER_AHEAD = "never ahead"
    READ_YOUR_WRITES = "read your writes"
    EXACTLY_ONCE = "exactly once"
    LOSSES_COUNTED = "every loss counted"


@dataclass(frozen=True, slots=True)
class Breach:
    """A promise that was broken.

    Attributes:
        promise: Which one.
        who: The follower, or the source.
        text: By what.
    """

    promise: Promise
    who: str
    text: str

    def __str__(self) -> str:
        return f"{self.promise.value}: {self.who}: {self.text}"


_Found = Iterator[tuple[str, str]]


def breaches(history: History) -> list[Breach]:
    """All that is wrong with a history."""
    index = Index(history)
    return [
        Breach(promise, who, text)
        for promise, judge in JUDGES.items()
        for who, text in judge(index)
    ]


def ordered(index: Index) -> _Found:
    """States and payloads reach a follower in the source's order."""
    for follower, seen in index.seen().items():
        before: dict[str, tuple[int, Saw]] = {}
        for _, saw in seen:
            ranks = index.clocks_for(follower, saw.epoch).ranks(saw.clock)
            if ranks is None:
                continue  # which is not atomic
            life = index.lives[saw.epoch]
            known = before.get(life)
            if known is not None and ranks[1] < known[0]:
                yield follower, f"saw {saw.clock} after {known[1].clock}, which is younger"
            before[life] = (max(ranks[0], known[0] if known else 0), saw)
    yield from _payloads_in_order(index)


def _payloads_in_order(index: Index) -> _Found:
    place, behind = index.published(), index.posted()
    last: dict[tuple[str, str, bool], tuple[int, str]] = {}
    for _, took in index.of(Took):
        directed = took.token in behind
        at = behind.get(took.token, place.get(took.token, -1))
        key = (took.follower, took.epoch, directed)
        earlier = last.get(key, (-1, ""))
        if at < earlier[0]:
            yield took.follower, f"took payload {took.token} after {earlier[1]}, sent later"
        last[key] = max(earlier, (at, took.token))
        clocks = index.clocks_for(took.follower, took.epoch)
        ranks = clocks.ranks(took.clock)
        if at >= 0 and ranks is not None and ranks[1] < clocks.rank_at(at):
            yield took.follower, f"took payload {took.token} before the states that it follows"


def unique(index: Index) -> _Found:
    """No update is applied twice, no payload is given twice."""
    for follower, seen in index.seen().items():
        last: dict[str, int] = {}
        for _, saw in seen:
            number = last.get(saw.stream, -1)
            if saw.number < number or (saw.number == number and not saw.whole):
                yield follower, f"applied message {saw.number} after {number}"
            last[saw.stream] = max(number, saw.number)
    given = Counter((took.follower, took.token) for _, took in index.of(Took))
    for (follower, token), times in given.items():
        if times > 1:
            yield follower, f"was given payload {token} {times} times"


def atomic(index: Index) -> _Found:
    """A follower shows a clock that the source had between two transitions."""
    for _, saw in index.of(Saw):
        if index.clocks_for(saw.follower, saw.epoch).ranks(saw.clock) is None:
            yield saw.follower, f"saw {saw.clock}, at message {saw.number}: never the source's"
    for _, took in index.of(Took):
        if index.clocks_for(took.follower, took.epoch).ranks(took.clock) is None:
            yield took.follower, f"showed {took.clock} at payload {took.token}"


def reliable(index: Index) -> _Found:
    """At rest a follower equals the source, and its waits have ended that should have."""
    rest = index.source_rest
    if rest is None:
        yield "source", "is not at rest"
        return
    for follower in index.sights.keys() - index.gone:
        mine = index.rest.get(follower)
        if mine is None:
            yield follower, "is not at rest"
        elif mine.epoch != rest.epoch:
            yield follower, f"follows epoch {mine.epoch}, the source is in {rest.epoch}"
        elif mine.clock != (due := index.sights[follower].of(rest.clock)):
            yield follower, f"rests at {mine.clock}, the source at {due}"
    fired = {(happening.life, happening.key) for _, happening in index.of(Fired)}
    met = {(happening.follower, happening.key) for _, happening in index.of(Met)}
    for _, wait in index.of(Waits):
        is_due = (rest.life, wait.key) in fired and wait.follower not in index.gone
        if is_due and (wait.follower, wait.key) not in met:
            yield wait.follower, f"waits for {wait.key}, which has come up"


def resumable(index: Index) -> _Found:
    """Who comes back is answered from the journal as long as that reaches back."""
    asked: dict[tuple[str, int], Asked] = {}
    for happening in index.all:
        if isinstance(happening, Asked):  # requests are numbered anew for each stream
            asked[happening.follower, happening.request] = happening
        if not isinstance(happening, Caught) or not happening.whole:
            continue
        caught = happening
        question = asked.get((caught.follower, caught.request))
        if question is None:
            continue
        missed = caught.number - question.number
        if question.epoch in index.lives and missed <= index.history.journal:
            yield (
                caught.follower,
                f"asked for what follows {question.number} and was sent a snapshot, though the "
                f"journal holds the {missed} messages",
            )


def bookmarked(index: Index) -> _Found:
    """A heartbeat tells where the stream is, and what the clock is there."""
    heads = {
        stream: [(at, said.number) for at, said in messages]
        for stream, messages in index.said.items()
    }
    cursors: Counter[str] = Counter()
    for at, beat in index.of(Beat):
        numbers = heads.get(beat.stream, [])
        while cursors[beat.stream] < len(numbers) and numbers[cursors[beat.stream]][0] < at:
            cursors[beat.stream] += 1
        count = cursors[beat.stream]
        head = numbers[count - 1][1] if count else 0
        if beat.number != head:
            yield "source", f"a heartbeat says {beat.number}, {head} was said last"
    for _, heard in index.of(Heard):
        if heard.told != heard.own:
            yield (
                heard.follower,
                f"its clock at {heard.number} has checksum {heard.own}, the source's {heard.told}",
            )


def never_ahead(index: Index) -> _Found:
    """Nobody knows anything before the source does it."""
    for at, saw in index.of(Saw):
        clocks = index.clocks_for(saw.follower, saw.epoch)
        ranks = clocks.ranks(saw.clock)
        if ranks is not None and clocks.since(ranks[0]) > at:
            yield saw.follower, f"saw {saw.clock} before the source had it"
    sent = index.published() | index.posted()
    for at, took in index.of(Took):
        if sent.get(took.token, at) >= at:
            yield took.follower, f"took payload {took.token}, which was not sent"
    fired: dict[str, int] = {}
    for at, happening in index.of(Fired):
        fired.setdefault(happening.key, at)
    for at, met in index.of(Met):
        if fired.get(met.key, at) >= at:
            yield met.follower, f"its wait for {met.key} ended, which has not come up"


def read_your_writes(index: Index) -> _Found:
    """Whoever awaits a mutation reads its effect."""
    for _, answer in index.of(Answered):
        if answer.outcome != "executed" or answer.clock is None:
            continue
        for at, ran in index.ran[answer.call]:
            if ran.life != index.lives.get(answer.epoch):
                continue  # another source answers for it by now
            clocks = index.clocks_for(answer.follower, answer.epoch)
            ranks = clocks.ranks(answer.clock)
            if ranks is None or ranks[1] < clocks.rank_at(at):
                yield answer.follower, f"read {answer.clock} when call {answer.call} had ended"


_RUNS = {
    "executed": (1, 1),
    "canceled": (0, 1),  # none, if the follower could tell beforehand
    "unsent": (0, 0),
    "refused": (0, 0),
    "unknown": (0, 1),
}


def exactly_once(index: Index) -> _Found:
    """A mutation runs as often as its caller is told: once, not at all, or at most once."""
    answers = {answer.call: answer for _, answer in index.of(Answered)}
    for _, called in index.of(Called):
        runs = len(index.ran[called.call])
        answer = answers.get(called.call)
        if not called.replied:
            if runs > 1:
                yield called.follower, f"mutation {called.call} without reply ran {runs} times"
        elif answer is None:
            if called.follower not in index.gone:
                yield called.follower, f"call {called.call} never ended"
            elif runs > 1:
                yield called.follower, f"call {called.call} ran {runs} times"
        else:
            least, most = _RUNS[answer.outcome]
            if not least <= runs <= most:
                yield called.follower, f"call {called.call} {answer.outcome}, ran {runs} times"
            accepted = {ran.accepted for _, ran in index.ran[called.call]}
            if answer.outcome in ("executed", "canceled") and accepted - {
                answer.outcome == "executed"
            }:
                yield called.follower, f"call {called.call} {answer.outcome}, the source differs"


def losses_counted(index: Index) -> _Found:
    """What does not arrive is counted where it should have arrived."""
    yield from _payloads_for_everybody(index)
    yield from _payloads_for_one(index)
    open_ns: Counter[str] = Counter()
    for _, called in index.of(Called):
        if not called.replied and not index.ran[called.call]:
            open_ns[called.follower] += 1
    for follower, rest in index.rest.items():
        if open_ns[follower] > rest.ns_open:
            yield (
                follower,
                f"{open_ns[follower]} mutations without reply never ran, {rest.ns_open} show",
            )


def _payloads_for_everybody(index: Index) -> _Found:
    """Within an epoch. What a source had said when it ended, its successor cannot know."""
    since: dict[tuple[str, str], int] = {}
    for _, ready in index.of(Ready):
        since.setdefault((ready.follower, ready.stream), ready.number)
    reached: dict[tuple[str, str], int] = {}
    for _, saw in index.of(Saw):
        key = (saw.follower, saw.stream)
        reached[key] = max(saw.number, reached.get(key, -1))
    for follower, rest in index.rest.items():
        reached[follower, rest.stream] = rest.number
    taken: defaultdict[str, set[str]] = defaultdict(set)
    for _, took in index.of(Took):
        taken[took.follower].add(took.token)
    missing: Counter[str] = Counter()
    for (follower, stream), first in since.items():
        last = reached.get((follower, stream), -1)
        for _, said in index.said[stream]:
            if said.token and first < said.number <= last:
                missing[follower] += said.token not in taken[follower]
    for follower, rest in index.rest.items():
        if missing[follower] > rest.lost:
            yield follower, f"{missing[follower]} payloads never came, it counted {rest.lost}"


def _payloads_for_one(index: Index) -> _Found:
    fates = {fate.token: fate for _, fate in index.of(Fate)}
    taken = {took.token for _, took in index.of(Took)}
    for _, sent in index.of(Sent):
        if not sent.follower:
            continue
        fate = fates.get(sent.token)
        if fate is None:
            at_rest = index.source_rest is not None and index.source_rest.life == sent.life
            if at_rest and sent.follower in index.rest:
                yield sent.follower, f"nobody knows what became of payload {sent.token}"
        elif fate.taken and sent.token not in taken:
            yield sent.follower, f"payload {sent.token} is said to have arrived, and did not"


JUDGES: dict[Promise, Callable[[Index], _Found]] = {
    Promise.ORDERED: ordered,
    Promise.UNIQUE: unique,
    Promise.ATOMIC: atomic,
    Promise.RELIABLE: reliable,
    Promise.RESUMABLE: resumable,
    Promise.BOOKMARKED: bookmarked,
    Promise.NEVER_AHEAD: never_ahead,
    Promise.READ_YOUR_WRITES: read_your_writes,
    Promise.EXACTLY_ONCE: exactly_once,
    Promise.LOSSES_COUNTED: losses_counted,
}
