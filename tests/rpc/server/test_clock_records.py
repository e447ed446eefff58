"""The bytes of a file of clocks: what they hold, and how damage shows."""

from __future__ import annotations

import pytest

from amzmq.rpc.server.clock_records import (
    MAGIC,
    Chain,
    Damaged,
    StoredClock,
    change,
    read,
    whole,
)


def clock(id: str = "src", ticks: tuple[int, ...] = (1, 0, 300)) -> StoredClock:
    return StoredClock(id, b"12345678", ("A", "B", "C"), list(ticks), 5, 2, {"Old": 7})


def written(*bodies: bytes) -> bytes:
    chain = Chain()
    return MAGIC + b"".join(map(chain.record, bodies))


BODIES = (
    whole(0, clock()),
    whole(1, clock("other", (0, 0, 0))),
    change(0, [(0, 2), (2, 301)], 6, 2),
    change(1, [(1, 70_000)], 7, 3),
)


def test_what_was_written_is_read() -> None:
    found = read(written(*BODIES))
    assert found.torn == 0
    assert found.clocks == {
        0: StoredClock("src", b"12345678", ("A", "B", "C"), [2, 0, 301], 6, 2, {"Old": 7}),
        1: StoredClock("other", b"12345678", ("A", "B", "C"), [0, 70_000, 0], 7, 3, {"Old": 7}),
    }


def test_a_whole_clock_takes_the_place_of_an_older_one() -> None:
    assert read(written(whole(0, clock()), whole(0, clock("src", (9, 9, 9))))).clocks == {
        0: clock("src", (9, 9, 9))
    }


def test_a_last_record_torn_at_any_byte_is_left_out_as_a_whole() -> None:
    before, all_of_it = written(*BODIES[:-1]), written(*BODIES)
    for size in range(len(before), len(all_of_it)):
        found = read(all_of_it[:size])
        assert found.clocks == read(before).clocks
        assert found.torn == size - len(before)


def test_a_last_record_never_written_to_its_end_is_left_out_as_a_whole() -> None:
    before, all_of_it = written(*BODIES[:-1]), written(*BODIES)
    for size in range(len(before), len(all_of_it)):
        # What a file system leaves that has the new length on disk, and not all of the data.
        found = read(all_of_it[:size] + bytes(len(all_of_it) - size + 512))
        assert found.clocks == read(before).clocks
        assert found.torn == len(all_of_it) - len(before) + 512


def test_a_flipped_bit_anywhere_is_damage_and_never_taken_for_a_torn_write() -> None:
    data = written(*BODIES)
    for at in range(len(data)):
        for bit in range(8):
            flipped = bytearray(data)
            flipped[at] ^= 1 << bit
            with pytest.raises(Damaged, match="byte|begins|format"):
                read(bytes(flipped))


def test_records_that_are_missing_repeated_or_moved_are_damage() -> None:
    chain = Chain()
    first, second, third, fourth = map(chain.record, BODIES)
    for records in (
        (first, third, fourth),
        (first, second, third, third),
        (first, second, fourth, third),
        (second, third),
    ):
        with pytest.raises(Damaged, match="does not fit its checksum"):
            read(MAGIC + b"".join(records))


def test_zeros_in_the_middle_are_damage() -> None:
    data = bytearray(written(*BODIES))
    start = len(written(*BODIES[:2]))
    data[start : start + 10] = bytes(10)
    with pytest.raises(Damaged, match=f"byte {start}"):
        read(bytes(data))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no file of clocks"),
        (b"SQLite format 3\0", "no file of clocks"),
        (b"amzmq clock 2\n....", "this version reads"),
        (MAGIC[:-1], "this version reads"),
    ],
)
def test_a_file_of_something_else_is_said_to_be_that(data: bytes, reason: str) -> None:
    with pytest.raises(Damaged, match=reason):
        read(data)


@pytest.mark.parametrize(
    "body",
    [
        change(4, [(0, 1)], 1, 1),
        change(0, [(9, 1)], 1, 1),
        change(0, [(0, -1)], 1, 1),
        b"\x92\x07\x00",
        b"\x91\x01",
        b"\xc1",
        whole(0, StoredClock("src", b"", ("A",), [], 1, 1)),
    ],
    ids=["machine", "state", "tick", "kind", "fields", "msgpack", "ticks"],
)
def test_a_record_that_fits_its_checksum_and_has_no_meaning_is_damage(body: bytes) -> None:
    with pytest.raises(Damaged, match="has no meaning"):
        read(written(whole(0, clock()), body))
