"""A journal that is filled by the run, and one that begins anew behind a hole."""

from __future__ import annotations

from amzmq.wire.journal import Journal, JournalLimits

MESSAGES = [bytes([n]) * 10 for n in range(8)]


def test_a_run_is_kept_as_its_messages_one_by_one_are() -> None:
    limits = JournalLimits(messages=5, size_bytes=45)
    one_by_one, at_once = Journal(limits), Journal(limits)
    for message in MESSAGES:
        one_by_one.append(message)
    at_once.extend(MESSAGES[:3])
    at_once.extend([])
    at_once.extend(MESSAGES[3:])
    for journal in (one_by_one, at_once):
        assert (journal.head, journal.oldest, journal.size_bytes) == (8, 5, 40)
        assert journal.since(4) == MESSAGES[4:]
        assert journal.since(3) is None


def test_behind_a_restart_nothing_older_is_known() -> None:
    journal = Journal()
    journal.extend(MESSAGES)
    journal.restart(100)
    assert (journal.head, journal.oldest, journal.size_bytes) == (100, 101, 0)
    assert journal.since(8) is None
    assert journal.since(100) == []
    journal.append(b"next")
    assert journal.since(100) == [b"next"]
    assert journal.since(99) is None
