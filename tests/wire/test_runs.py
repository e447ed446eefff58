"""Updates that arrive together are one where nobody is told of each, and end the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amzmq.wire.codec import encode
from amzmq.wire.feed import UPDATE_BYTE
from amzmq.wire.reader import Need
from amzmq.wire.runs import merge

from .rig import ID, Replica, Source


def level(watched: bool = False) -> tuple[Source, Replica]:
    source, replica = Source(), Replica()
    source.tick(2)
    replica.reader.restore(source.writer.snapshot())
    replica.said.clear()
    replica.is_watched = watched
    return source, replica


def run(replica: Replica, bodies: list[bytes]) -> int:
    return replica.reader.push_run([ID + body for body in bodies], len(ID))


def test_a_run_that_nobody_watches_is_told_as_one() -> None:
    source, replica = level()
    assert run(replica, [source.tick(at % 3) for at in range(7)]) == 7
    assert replica.said == [[0, 3, 1, 2, 2, 2]]
    assert replica.clock == source.clock
    assert (replica.reader.number, replica.reader.counters.updates) == (8, 7)


def test_a_run_that_somebody_watches_is_told_one_by_one() -> None:
    source, replica = level(watched=True)
    assert run(replica, [source.tick(at % 3) for at in range(7)]) == 7
    assert len(replica.said) == 7
    assert replica.clock == source.clock


@given(st.lists(st.lists(st.integers(0, 2), max_size=3, unique=True), max_size=12))
def test_either_way_the_end_is_the_same(steps: list[list[int]]) -> None:
    source, quick = level()
    careful = Replica()
    careful.reader.restore(source.writer.snapshot())
    bodies = [source.tick(*step) for step in steps]
    bodies = [body for body in bodies if body]
    for replica in (quick, careful):
        for body in bodies[run(replica, bodies) :]:
            replica.reader.push(body)
        assert replica.clock == source.clock
        assert replica.reader.number == source.writer.head
    assert quick.reader.checksum == careful.reader.checksum


def test_a_run_with_a_hole_is_taken_up_to_it() -> None:
    source, replica = level()
    bodies = [source.tick(0) for _ in range(4)]
    assert run(replica, [*bodies[:2], bodies[3]]) == 2
    assert replica.reader.number == 3
    replica.reader.push(bodies[3])
    assert replica.reader.need is Need.MISSING


def test_a_run_that_comes_again_is_dropped() -> None:
    source, replica = level()
    bodies = [source.tick(0) for _ in range(3)]
    run(replica, bodies)
    assert run(replica, bodies) == 0
    for body in bodies:
        replica.reader.push(body)
    assert replica.clock == source.clock
    assert replica.reader.counters.duplicates == 3


@pytest.mark.parametrize(
    "wrong",
    [
        [3, 1, [0, 1], 0],
        [3, 1, [9, 1], 7],
        [3, 1, [-1, 1], 7],
        [3, 1, [0], 7],
        [3, 1, b"\x00\x01", 7],
        [3, 1.5, [0, 1], 7],
        [3, 1, [0, "x"], 7],
        [3, 1, [[0], 1], 7],
        [3, 1, [0, 1]],
        [3, 1, [0, 1], 7, 1],
        7,
    ],
    ids=str,
)
def test_what_is_unusual_at_the_end_of_a_run_changes_nothing_before_it_is_looked_at(
    wrong: object,
) -> None:
    source, replica = level()
    right = source.tick(0)
    clock = source.clock
    assert run(replica, [right, UPDATE_BYTE + encode(wrong)]) == 1
    assert replica.clock == clock
    assert replica.reader.number == 2


def test_diffs_add_up_by_state() -> None:
    assert merge([[3, 1], [1, 2, 3, 4], [], [1, 2]]) == [3, 5, 1, 4]
    with pytest.raises(ValueError, match="shorter"):
        merge([[1, 2], [3]])
