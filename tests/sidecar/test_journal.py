"""The journal tells every change once and in order, whoever makes it and whenever it is read."""

from __future__ import annotations

import asyncio

from amzmq.machine import Machine, State
from amzmq.sidecar.journal import KEPT, Entry, Journal

PATIENCE_S = 10.0


def machine() -> Machine:
    return Machine({"A": State(multi=True), "B": State(require="A"), "C": State(require="B")})


async def read_all(journal: Journal, last_id: str) -> list[Entry]:
    journal.close()
    async with asyncio.timeout(PATIENCE_S):
        return [entry async for entry in journal.read(last_id, PATIENCE_S) if entry is not None]


async def test_what_changes_nothing_is_not_told() -> None:
    m = machine()
    journal = Journal(m)
    m.add("C")  # refused
    m.can_add("A")
    m.remove("A")
    assert journal.head == 0
    m.add("A")
    assert journal.head == 1
    journal.close()


async def test_changes_of_other_threads_come_in_their_order() -> None:
    m = machine()
    journal = Journal(m)
    start = f"{journal.epoch}-0"

    def change() -> None:
        for _ in range(100):
            m.add("A")

    await asyncio.gather(asyncio.to_thread(change), asyncio.to_thread(change))
    await asyncio.sleep(0)  # what was told from there is told here in the next turn
    told = await read_all(journal, start)
    ticks = [entry.data["ticks"] for entry in told]
    assert ticks == [{"A": 2 * n + 1} for n in range(200)]


async def test_a_reader_who_is_too_slow_goes_on_with_a_snapshot() -> None:
    m = machine()
    journal = Journal(m)
    reading = journal.read(f"{journal.epoch}-0", PATIENCE_S)
    m.add("A")
    async with asyncio.timeout(PATIENCE_S):
        first = await anext(reading)
        assert first is not None
        assert first.kind == "change"
        for _ in range(KEPT + 1):
            m.add("A")
        again = await anext(reading)
    assert again is not None
    assert again.kind == "snapshot"
    assert again.number == journal.head
    assert isinstance(again.data["clock"], dict)
    assert again.data["clock"]["A"] == m.tick("A")
    journal.close()


async def test_a_reader_hears_that_nothing_happened() -> None:
    journal = Journal(machine())
    reading = journal.read(f"{journal.epoch}-0", 0.01)
    assert await anext(reading) is None
    assert await anext(reading) is None
    journal.close()


async def test_the_last_entries_are_read_after_the_end() -> None:
    m = machine()
    journal = Journal(m)
    m.add("A")
    m.add("B")
    told = await read_all(journal, "")
    assert [entry.kind for entry in told] == ["snapshot"]
    told = await read_all(journal, f"{journal.epoch}-1")
    assert [entry.data["activated"] for entry in told] == [["B"]]
