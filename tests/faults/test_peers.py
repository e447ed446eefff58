"""The peers of the lab: their judge, their page, and a few trials of those that are here."""

from __future__ import annotations

import asyncio

from bench.needs import sort_out
from tests.faults.peers import report
from tests.faults.peers.judge import broken, lost
from tests.faults.peers.source import DATA, clock_of
from tests.faults.peers.systems import SYSTEMS
from tests.faults.peers.trial import OWN, SHARED, PeerOutcome, faults, try_out
from tests.faults.trial import FAULTS, Outcome
from tests.oracles.history import (
    FULL,
    AtRest,
    Began,
    Changed,
    Follows,
    Gone,
    Happening,
    History,
    Ready,
    Said,
    Saw,
    SourceAtRest,
    Took,
)
from tests.oracles.promises import Promise

MISSING = sort_out({system.name: system.needs for system in SYSTEMS.values()})
HERE = [name for name in SYSTEMS if name not in MISSING]

EMPTY, ONE, TWO = clock_of({}), clock_of({"A": 1}), clock_of({"A": 2})


async def test_peers_follow_their_source_until_something_is_cut() -> None:
    undisturbed = [try_out(SYSTEMS[name], "no-fault") for name in HERE]
    *calm, cut = await asyncio.gather(*undisturbed, try_out(SYSTEMS["clone"], "reset-of-the-feed"))
    for outcome in (*calm, cut):
        assert outcome.error == ""
        assert outcome.heal_s is not None
        assert outcome.happenings > 20
    assert {(*outcome.broken, outcome.lost) for outcome in calm} == {(0,)}
    assert cut.lost or cut.broken, "what was on its way: events, states, or a part of them"


def test_the_faults_of_peers_are_those_of_the_lab() -> None:
    assert set(SHARED) <= set(FAULTS)
    assert "broker-killed" in faults(SYSTEMS["redis"])
    assert "broker-killed" not in faults(SYSTEMS["clone"])


# The judge.

KEPT: list[Happening] = [
    Began(DATA, DATA),
    Changed(DATA, EMPTY),
    Follows("f", FULL),
    Said("life1", 1, "life1-1"),  # before the follower was there
    Saw("f", DATA, DATA, 1, EMPTY, True),
    Ready("f", DATA, DATA, 1),
    Changed(DATA, ONE),
    Saw("f", DATA, DATA, 2, ONE, False),
    Said("life1", 2, "life1-2"),
    Took("f", DATA, "life1-2", ONE),
    Changed(DATA, TWO),
    Said("life1", 3, "life1-3"),  # died with the source
    Said("life2", 1, "life2-1"),
    Took("f", DATA, "life2-1", ONE),
    Saw("f", DATA, DATA, 3, TWO, False),
    AtRest("f", DATA, DATA, 3, TWO, 0, 0),
    SourceAtRest(DATA, DATA, TWO),
]


def without(*left_out: Happening) -> History:
    assert all(one in KEPT for one in left_out)
    return History(0, [one for one in KEPT if one not in left_out])


def test_nothing_is_held_against_a_peer_that_kept_all() -> None:
    assert lost(without()) == 0
    assert broken(without(), has_one_stream=False) == {}


def test_an_event_that_a_follower_was_owed_is_lost() -> None:
    assert lost(without(Took("f", DATA, "life2-1", ONE))) == 1
    more = History(0, [*KEPT[:12], Took("f", DATA, "life1-3", TWO), *KEPT[12:]])
    assert lost(more) == 0
    again = History(0, [one for one in more if one != Took("f", DATA, "life1-2", ONE)])
    assert lost(again) == 1


def test_nothing_is_owed_to_who_has_gone() -> None:
    history = without(Took("f", DATA, "life2-1", ONE))
    history.note(Gone("f"))
    assert lost(history) == 0


def test_a_replica_that_stays_behind_is_not_reliable() -> None:
    history = History(0, [*KEPT[:-3], AtRest("f", DATA, DATA, 2, ONE, 0, 0), KEPT[-1]])
    assert broken(history, has_one_stream=True)[Promise.RELIABLE] == 1


def test_events_may_overtake_states_where_they_go_another_way() -> None:
    # life2-1 was said behind TWO, and the follower still shows ONE.
    assert broken(without(), has_one_stream=True) == {Promise.ORDERED: 1}


# The page.


def found(*outcomes: PeerOutcome) -> dict[str, object]:
    return report.found(outcomes, {})


def test_the_page_shows_all_side_by_side() -> None:
    ours = [Outcome("reset", "what", True, ("connects",), 0.25, (), 0, (), 10, "")]
    text = report.section(
        found(
            PeerOutcome("clone", "reset", 0.5, {"atomic": 2, "ordered": 1}, 7),
            PeerOutcome("nats", "reset", None, {}, 3),
            PeerOutcome("redis", "reset", 0.1),
        ),
        ours,
    )
    row = next(line for line in text.splitlines() if line.startswith(f"| {FAULTS['reset'].what}"))
    assert row.split(" | ")[1:] == [
        "0.25",
        "0.50, _atomic 2_, **ordered 1**, _7 lost_",
        "0.10",
        "**never**, **3 lost** |",
    ]
    assert "1 of 1 healed, 0 broken, 0 lost | 1 of 1 healed, 1 broken, 7 lost" in text
    for system in SYSTEMS.values():
        assert system.claims in text


def test_what_is_not_installed_is_named_as_missing() -> None:
    lacking = report.found([], {"nats": "the program nats-server is not installed"})
    text = report.section(lacking, [])
    assert "NATS KV watch is missing: the program nats-server is not installed" in text
    assert text.count("| missing |") == len(SHARED) + len(OWN)
