"""Every promise has a judge, and every judge sees its promise broken."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from tests.oracles.history import (
    Answered,
    Asked,
    AtRest,
    Beat,
    Began,
    Called,
    Caught,
    Changed,
    Clock,
    Fate,
    Fired,
    Follows,
    Gone,
    Happening,
    Heard,
    History,
    Met,
    Ran,
    Ready,
    Said,
    Saw,
    Sent,
    Sight,
    SourceAtRest,
    Took,
    Waits,
    Welcomed,
    from_row,
    to_row,
)
from tests.oracles.promises import JUDGES, Promise, breaches

JOURNAL = 10


def clock(queue: int, **ticks: int) -> Clock:
    return Clock(frozenset(ticks.items()), queue, 0)


START = clock(1)
ON = clock(2, A=1)
OFF = clock(3, A=2)


def saw(number: int, shown: Clock, whole: bool = False, follower: str = "f") -> Saw:
    return Saw(follower, "e", "s", number, shown, whole)


def rest(shown: Clock = OFF, lost: int = 0, ns_open: int = 0, number: int = 4) -> AtRest:
    return AtRest("f", "e", "s", number, shown, lost, ns_open)


# A source and a follower to whom all promises are kept.
KEPT: list[Happening] = [
    Changed("l", START),
    Follows("f", Sight()),
    Began("l", "e"),
    Welcomed("f", "e", "s"),
    Asked("f", 1, "", 0),
    Caught("f", 1, True, 0),
    Ready("f", "e", "s", 0),
    saw(0, START, whole=True),
    Waits("f", "k"),
    Called("f", "call", True),
    Changed("l", ON),
    Ran("l", "call", True),
    Fired("l", "k"),
    Said("s", 1, ""),
    saw(1, ON),
    Answered("f", "call", "executed", "e", ON),
    Met("f", "k"),
    Said("s", 2, "p1"),
    Took("f", "e", "p1", ON),
    Said("s", 3, "p2"),
    Took("f", "e", "p2", ON),
    Beat("s", 3),
    Heard("f", 3, 77, 77),
    Sent("l", "f", "d1"),
    Took("f", "e", "d1", ON),
    Fate("d1", True),
    Called("f", "ns", False),
    Changed("l", OFF),
    Ran("l", "ns", True),
    Said("s", 4, ""),
    Asked("f", 2, "e", 3),
    Caught("f", 2, False, -1),
    saw(4, OFF),
    rest(),
    SourceAtRest("l", "e", OFF),
]


def broken(happenings: Iterable[Happening]) -> set[Promise]:
    return {breach.promise for breach in breaches(History(JOURNAL, happenings))}


def without(*left_out: Happening) -> list[Happening]:
    assert all(one in KEPT for one in left_out)
    return [one for one in KEPT if one not in left_out]


def instead(old: Happening, *new: Happening) -> list[Happening]:
    at = KEPT.index(old)
    return [*KEPT[:at], *new, *KEPT[at + 1 :]]


def behind(old: Happening, *new: Happening) -> list[Happening]:
    return instead(old, old, *new)


def swapped(one: Happening, other: Happening) -> list[Happening]:
    both = {KEPT.index(one): other, KEPT.index(other): one}
    return [both.get(at, happening) for at, happening in enumerate(KEPT)]


BREACHES: dict[str, tuple[Promise, Callable[[], list[Happening]]]] = {
    "an older clock behind a younger one": (
        Promise.ORDERED,
        lambda: behind(saw(4, OFF), saw(5, ON)),
    ),
    "payloads that overtake each other": (
        Promise.ORDERED,
        lambda: swapped(Took("f", "e", "p1", ON), Took("f", "e", "p2", ON)),
    ),
    "a payload before the states that it follows": (
        Promise.ORDERED,
        lambda: instead(Took("f", "e", "p1", ON), Took("f", "e", "p1", START)),
    ),
    "an update that is applied twice": (
        Promise.UNIQUE,
        lambda: behind(saw(1, ON), saw(1, ON)),
    ),
    "a payload that is given twice": (
        Promise.UNIQUE,
        lambda: behind(Took("f", "e", "d1", ON), Took("f", "e", "d1", ON)),
    ),
    "a clock that the source never had": (
        Promise.ATOMIC,
        lambda: instead(saw(1, ON), saw(1, clock(2, B=1)), saw(1, ON, whole=True)),
    ),
    "half a change, at a payload": (
        Promise.ATOMIC,
        lambda: instead(Took("f", "e", "p1", ON), Took("f", "e", "p1", clock(2))),
    ),
    "a follower that rests elsewhere": (
        Promise.RELIABLE,
        lambda: instead(rest(), rest(ON)),
    ),
    "a follower that is not at rest": (Promise.RELIABLE, lambda: without(rest())),
    "a source that is not at rest": (
        Promise.RELIABLE,
        lambda: without(SourceAtRest("l", "e", OFF)),
    ),
    "a follower that rests in an older epoch": (
        Promise.RELIABLE,
        lambda: instead(
            SourceAtRest("l", "e", OFF), Began("l", "e2"), SourceAtRest("l", "e2", OFF)
        ),
    ),
    "a wait that never ends": (Promise.RELIABLE, lambda: without(Met("f", "k"))),
    "a snapshot where the journal reaches back": (
        Promise.RESUMABLE,
        lambda: instead(Caught("f", 2, False, -1), Caught("f", 2, True, 4)),
    ),
    "a heartbeat that is behind": (Promise.BOOKMARKED, lambda: instead(Beat("s", 3), Beat("s", 2))),
    "a heartbeat that is ahead": (Promise.BOOKMARKED, lambda: instead(Beat("s", 3), Beat("s", 4))),
    "a heartbeat of another clock": (
        Promise.BOOKMARKED,
        lambda: instead(Heard("f", 3, 77, 77), Heard("f", 3, 77, 78)),
    ),
    "a clock before the source has it": (
        Promise.NEVER_AHEAD,
        lambda: behind(saw(1, ON), saw(2, OFF)),
    ),
    "a payload before it is sent": (
        Promise.NEVER_AHEAD,
        lambda: swapped(Said("s", 3, "p2"), Took("f", "e", "p2", ON)),
    ),
    "a wait that ends before its time": (
        Promise.NEVER_AHEAD,
        lambda: without(Fired("l", "k")),
    ),
    "a caller that does not read its effect": (
        Promise.READ_YOUR_WRITES,
        lambda: instead(
            Answered("f", "call", "executed", "e", ON),
            Answered("f", "call", "executed", "e", START),
        ),
    ),
    "a call that runs twice": (
        Promise.EXACTLY_ONCE,
        lambda: behind(Ran("l", "call", True), Ran("l2", "call", True)),
    ),
    "a call that is said to have run": (
        Promise.EXACTLY_ONCE,
        lambda: without(Ran("l", "call", True)),
    ),
    "a call that never ends": (
        Promise.EXACTLY_ONCE,
        lambda: without(Answered("f", "call", "executed", "e", ON)),
    ),
    "a call that ran though it was never sent": (
        Promise.EXACTLY_ONCE,
        lambda: instead(
            Answered("f", "call", "executed", "e", ON), Answered("f", "call", "unsent", "e", ON)
        ),
    ),
    "a call that is told another result": (
        Promise.EXACTLY_ONCE,
        lambda: instead(Ran("l", "call", True), Ran("l", "call", False)),
    ),
    "a mutation without reply that runs twice": (
        Promise.EXACTLY_ONCE,
        lambda: behind(Ran("l", "ns", True), Ran("l", "ns", True)),
    ),
    "a payload that is lost and not counted": (
        Promise.LOSSES_COUNTED,
        lambda: without(Took("f", "e", "p2", ON)),
    ),
    "a payload for one that is lost and not counted": (
        Promise.LOSSES_COUNTED,
        lambda: without(Took("f", "e", "d1", ON)),
    ),
    "a payload for one of which nobody knows": (
        Promise.LOSSES_COUNTED,
        lambda: without(Took("f", "e", "d1", ON), Fate("d1", True)),
    ),
    "a mutation without reply that is lost and not counted": (
        Promise.LOSSES_COUNTED,
        lambda: without(Ran("l", "ns", True)),
    ),
}


def test_a_history_in_which_all_is_well_breaks_nothing() -> None:
    assert broken(KEPT) == set()


@pytest.mark.parametrize("name", BREACHES)
def test_a_breach_is_seen(name: str) -> None:
    promise, history = BREACHES[name]
    assert promise in broken(history())


def test_every_promise_has_a_judge_and_a_history_that_breaks_it() -> None:
    assert set(JUDGES) == set(Promise)
    assert {promise for promise, _ in BREACHES.values()} == set(Promise)


def test_what_is_lost_and_counted_is_no_breach() -> None:
    lost = instead(rest(), rest(lost=1))
    lost.remove(Took("f", "e", "p2", ON))
    assert broken(lost) == set()
    open_ns = instead(rest(), rest(ns_open=1))
    open_ns.remove(Ran("l", "ns", True))
    assert broken(open_ns) == set()
    failed = instead(Fate("d1", True), Fate("d1", False))
    failed.remove(Took("f", "e", "d1", ON))
    assert broken(failed) == set()


def test_a_snapshot_is_no_breach_when_the_journal_does_not_reach_back() -> None:
    answer = Caught("f", 2, True, 3 + JOURNAL + 1)
    assert broken(instead(Caught("f", 2, False, -1), answer)) == set()


def test_nothing_is_owed_to_those_who_are_gone() -> None:
    gone = instead(rest(), Gone("f"))
    gone.remove(Met("f", "k"))
    gone.remove(Answered("f", "call", "executed", "e", ON))
    assert broken(gone) == set()


def test_a_sight_is_judged_by_what_it_shows() -> None:
    busy = clock(9, A=3, B=7)
    assert Sight(shallow=True).of(busy) == clock(9, A=1, B=1)
    assert Sight(shallow=True).of(clock(9, A=4)) == clock(9)
    assert Sight(allowed=frozenset("B")).of(busy) == clock(9, B=7)
    assert Sight(skipped=frozenset("B")).of(busy) == clock(9, A=3)


def test_a_history_survives_being_written_down() -> None:
    sights: list[Happening] = [
        Follows("g", Sight(frozenset("AB"), frozenset("C"), True)),
        Gone("g"),
    ]
    for happening in [*KEPT, *sights]:
        assert from_row(to_row(happening)) == happening
