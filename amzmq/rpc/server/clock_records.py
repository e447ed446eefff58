"""The records of a file that keeps clocks: bytes in, clocks out.

A file is `MAGIC` and then records, each one as

    length of the body (4) | chained CRC32 of it (4) | CRC32 of these 8 bytes (4) | body | 0x0A

in network order. A body is a msgpack array: a whole clock, or what changed of one. The CRC goes on
from that of the record before, so a record that is missing, repeated or moved does not fit. The
mark at the end is no zero byte: whatever ends in zeros was never written to its end.

A write that was cut short by a crash (torn) is told from damage: torn is only the last record, cut
off or filled up with zeros to the end of the file. All else is damage.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from amzmq.errors import FrameInvalid
from amzmq.wire.codec import Value, decode_array, plain_packer

MAGIC = b"amzmq clock 1\n"
"""How a file begins; the number is the version of the format."""

BODY_LIMIT = 1 << 28
"""Bytes of a body at most; a clock of a million states takes a tenth."""

_FAMILY = b"amzmq clock "
_HEAD = struct.Struct(">II")
_HEADER_SIZE = _HEAD.size + 4
_MARK = b"\n"
_WHOLE = 0
_CHANGE = 1


class Damaged(Exception):
    """A file is not what was written; it tells where and how."""


@dataclass(slots=True)
class StoredClock:
    """The clock of one machine.

    Attributes:
        machine_id: Whose it is.
        schema_hash: Of the schema whose states these are.
        names: Of the states, in index order.
        ticks: Of the states, likewise.
        queue_tick: The queue tick.
        machine_tick: The machine tick.
        former: Ticks of states that earlier schemas had, by name.
    """

    machine_id: str
    schema_hash: bytes
    names: tuple[str, ...]
    ticks: list[int]
    queue_tick: int
    machine_tick: int
    former: dict[str, int] = field(default_factory=dict)

    def by_name(self) -> dict[str, int]:
        """All ticks that are known, those of former states included."""
        return self.former | dict(zip(self.names, self.ticks, strict=True))


@dataclass(frozen=True, slots=True)
class Contents:
    """What a file holds.

    Attributes:
        clocks: By the number that its records give each machine.
        torn: Bytes at the end that were cut short by a crash, and are left out.
    """

    clocks: dict[int, StoredClock]
    torn: int


def whole(number: int, clock: StoredClock) -> bytes:
    """The body that tells a clock from scratch, under the number that changes refer to."""
    return plain_packer()(
        [
            _WHOLE, number, clock.machine_id, clock.schema_hash, clock.names, clock.ticks,
            clock.queue_tick, clock.machine_tick, clock.former,
        ]
    )  # fmt: skip


def change(
    number: int, ticks: Iterable[tuple[int, int]], queue_tick: int, machine_tick: int
) -> bytes:
    """The body that tells the present ticks of the states that changed, and both counters."""
    flat = [value for pair in ticks for value in pair]
    return plain_packer()((_CHANGE, number, flat, queue_tick, machine_tick))


class Chain:
    """Makes records of bodies, each bound to the one before."""

    __slots__ = ("_crc",)

    def __init__(self) -> None:
        self._crc = zlib.crc32(MAGIC)

    def record(self, body: bytes) -> bytes:
        """The next record."""
        self._crc = zlib.crc32(body, self._crc)
        head = _HEAD.pack(len(body), self._crc)
        return b"".join((head, zlib.crc32(head).to_bytes(4, "big"), body, _MARK))


def read(data: bytes) -> Contents:
    """What the bytes of a file say.

    Raises:
        Damaged: They are not what was written.
    """
    if not data.startswith(MAGIC):
        if data.startswith(_FAMILY):
            raise Damaged(f"its format is {data[:20]!r}, this version reads {MAGIC!r}")
        raise Damaged(f"it begins with {data[:20]!r}: no file of clocks")
    clocks: dict[int, StoredClock] = {}
    written = len(data.rstrip(b"\0"))
    at, crc = len(MAGIC), zlib.crc32(MAGIC)
    while at < len(data):
        end, crc = _checked(data, at, written, crc)
        if end == at:
            break
        try:
            _apply(data[at + _HEADER_SIZE : end - len(_MARK)], clocks)
        except (FrameInvalid, ValueError, KeyError, IndexError, TypeError) as error:
            raise Damaged(f"the record at byte {at} has no meaning: {error!r}") from None
        at = end
    return Contents(clocks, len(data) - at)


def _checked(data: bytes, at: int, written: int, crc: int) -> tuple[int, int]:
    """Where the record at `at` ends, and the CRC behind it; `at` itself if it is torn.

    Nothing but zeros follows byte `written`.
    """
    header_end = at + _HEADER_SIZE
    if len(data) < header_end:
        return at, crc
    length, expected = _HEAD.unpack_from(data, at)
    own = int.from_bytes(data[at + _HEAD.size : header_end], "big")
    if zlib.crc32(data[at : at + _HEAD.size]) != own or length > BODY_LIMIT:
        if written < header_end:
            return at, crc
        raise Damaged(f"the header of the record at byte {at} does not fit its checksum")
    end = header_end + length + len(_MARK)
    if len(data) < end:
        return at, crc
    found = zlib.crc32(data[header_end : end - len(_MARK)], crc)
    if found != expected or data[end - len(_MARK) : end] != _MARK:
        if written < end:
            return at, crc
        raise Damaged(f"the record at byte {at} does not fit its checksum")
    return end, found


def _apply(body: bytes, clocks: dict[int, StoredClock]) -> None:
    kind, number, *rest = decode_array(body)
    if type(number) is not int:
        raise ValueError(f"machine {number!r}")
    if kind == _WHOLE:
        clocks[number] = _clock(rest)
    elif kind == _CHANGE:
        flat, queue_tick, machine_tick = rest[:3]
        clock = clocks[number]
        if not isinstance(flat, list):
            raise ValueError(f"ticks {flat!r}")
        for index, tick in zip(_ints(flat[::2]), _ints(flat[1::2]), strict=True):
            clock.ticks[index] = tick
        clock.queue_tick, clock.machine_tick = _ints([queue_tick, machine_tick])
    else:
        raise ValueError(f"kind {kind!r}")


def _clock(fields: Sequence[Value]) -> StoredClock:
    machine_id, schema_hash, names, ticks, queue_tick, machine_tick, former = fields[:7]
    if not (
        isinstance(machine_id, str)
        and isinstance(schema_hash, bytes)
        and isinstance(names, list)
        and isinstance(ticks, list)
        and len(names) == len(ticks)
        and isinstance(former, dict)
    ):
        raise ValueError(f"a clock of {machine_id!r}")
    counters = _ints([queue_tick, machine_tick])
    return StoredClock(
        machine_id,
        schema_hash,
        tuple(map(str, names)),
        _ints(ticks),
        counters[0],
        counters[1],
        dict(zip(map(str, former), _ints(list(former.values())), strict=True)),
    )


def _ints(values: Sequence[Value]) -> list[int]:
    """Ticks and indexes: whole numbers, 0 or more."""
    found = [value for value in values if type(value) is int and value >= 0]
    if len(found) != len(values):
        raise ValueError(f"not all of {values!r} are ticks")
    return found
