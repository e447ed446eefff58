"""The last messages of a stream, as many as the limits allow."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amzmq.errors import InvalidArgs
from amzmq.wire.journal import Journal, JournalLimits


def filled(count: int, limits: JournalLimits | None = None) -> Journal:
    journal = Journal(limits)
    for number in range(1, count + 1):
        journal.append(b"%d" % number)
    return journal


def after(number: int, head: int) -> list[bytes]:
    return [b"%d" % n for n in range(number + 1, head + 1)]


def test_an_empty_journal_has_nothing_to_tell_those_who_know_nothing() -> None:
    journal = Journal()
    assert (journal.head, journal.oldest, journal.size_bytes) == (0, 1, 0)
    assert journal.since(0) == []
    assert journal.since(1) is None
    assert journal.since(-1) is None


def test_the_limit_of_messages() -> None:
    journal = filled(10, JournalLimits(messages=4))
    assert (journal.head, journal.oldest, journal.size_bytes) == (10, 7, 5)
    assert journal.since(6) == after(6, 10)
    assert journal.since(5) is None


def test_the_limit_of_bytes() -> None:
    journal = Journal(JournalLimits(size_bytes=10))
    for size in (4, 4, 2, 1):
        journal.append(b"x" * size)
    assert (journal.oldest, journal.size_bytes) == (2, 7)
    journal.append(b"x" * 10)
    assert (journal.oldest, journal.head, journal.size_bytes) == (5, 5, 10)


def test_a_message_above_the_limit_is_numbered_but_not_kept() -> None:
    journal = Journal(JournalLimits(size_bytes=10))
    journal.append(b"x" * 11)
    assert (journal.head, journal.oldest, journal.size_bytes) == (1, 2, 0)
    assert journal.since(0) is None
    assert journal.since(1) == []
    journal.append(b"x")
    assert journal.since(1) == [b"x"]


@pytest.mark.parametrize("count", [1, 7, 8, 9, 10, 100])
def test_every_edge_of_what_is_kept(count: int) -> None:
    journal = filled(count + 5, JournalLimits(messages=count))
    head = count + 5
    assert journal.since(head) == []
    assert journal.since(head - 1) == after(head - 1, head)
    assert journal.since(5) == after(5, head)
    assert journal.since(4) is None
    assert journal.since(0) is None
    assert journal.since(-1) is None
    assert journal.since(head + 1) is None
    assert journal.since(2**63) is None


@given(st.lists(st.binary(max_size=20), max_size=60), st.integers(0, 20), st.integers(0, 100))
def test_a_journal_is_the_longest_tail_within_its_limits(
    messages: list[bytes], count: int, size: int
) -> None:
    journal = Journal(JournalLimits(count, size))
    for message in messages:
        journal.append(message)
    kept = 0
    while kept < len(messages):
        tail = messages[len(messages) - kept - 1 :]
        if len(tail) > count or sum(map(len, tail)) > size:
            break
        kept += 1
    # A larger message pushes out those before it for good, so fewer may be left.
    left = journal.head - journal.oldest + 1
    assert left <= kept
    assert journal.size_bytes == sum(map(len, messages[len(messages) - left :]))
    for number in range(-1, len(messages) + 2):
        known = journal.oldest - 1 <= number <= journal.head
        assert journal.since(number) == (messages[number:] if known else None)


def test_the_default_keeps_some_seconds_of_a_busy_stream_within_16_mib() -> None:
    assert JournalLimits() == JournalLimits(16_384, 16 * 1024 * 1024)


def test_several_messages_at_once_are_kept_as_long_as_they_fit() -> None:
    journal = Journal(JournalLimits(messages=4, size_bytes=100))
    journal.extend([b"a", b"b", b"c", b"d"])
    assert (journal.oldest, journal.head) == (1, 4)
    journal.extend([b"e", b"f"])
    assert journal.since(2) == [b"c", b"d", b"e", b"f"]
    assert journal.since(1) is None


@pytest.mark.parametrize("limit", ["messages", "size_bytes"])
@pytest.mark.parametrize("value", [-1, 1.0, True, "9"])
def test_limits_that_are_no_whole_numbers_are_named(limit: str, value: object) -> None:
    with pytest.raises(InvalidArgs, match=f"^JournalLimits: {limit}={value!r}; a whole number"):
        JournalLimits(**{limit: value})  # type: ignore[arg-type]
